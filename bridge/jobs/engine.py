"""The engine: takes jobs in, has each run in its lanes, writes down how it went, and tells whoever listens."""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from bridge.errors import Cancelled, OutOfSpace, UnflattenError
from bridge.files.disk import out_of_space
from bridge.jobs.errors import Abandoned, Busy, CutOff, DuplicateJob, GoesOn, LayersGone, ShuttingDown, UnknownJob
from bridge.jobs.executor import Executor
from bridge.jobs.files import JobFiles
from bridge.jobs.job import (
    Awaited,
    Done,
    Failed,
    Job,
    JobRequest,
    LayerReady,
    Listener,
    Progressed,
    RawLayers,
    RawPicture,
    Stacked,
    State,
)
from bridge.jobs.lanes import Lane
from bridge.jobs.live import LiveJob
from bridge.jobs.store import Store
from bridge.jobs.supervisor import Workers

MOST_WAITING = 500
"""Jobs that may wait at a time."""
MOST_ATTEMPTS = 2
"""A job that was cut off twice is not run a third time by itself: it may be what brings the bridge down."""
FORGOTTEN_AFTER = 3600.0
"""Seconds after which nobody waits any more for a job that a crash cut off."""
UNATTENDED_FORGOTTEN_AFTER = 86_400.0
"""The same for a job that goes on with nobody connected."""
BREAK_OFF_PATIENCE = 5.0
"""Seconds that jobs get to be broken off at the engine's end."""
MOST_BYTES = 16 * 2**30
SHARE_OF_DISK = 1 / 20
"""Results take at most so many bytes together, and at most this share of the disk."""
DAY = 86_400.0

Bring = Callable[[Job], Awaitable[RawPicture]]
"""Brings a job's picture into its folder; what it is. Raises UnflattenError where it cannot be had."""

log = logging.getLogger("unflatten")


def _log_bug(task: asyncio.Task[None]) -> None:
    """A job's task that ends with an error has not told its end."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a job could not be ended", exc_info=error)


class Engine:
    """The jobs of one process.

    owner: names the process in the store, which others may share. grace: seconds that a job goes on for when its client
    is gone. cpu: jobs at a time in the processor's lane.
    """

    def __init__(
        self, store: Store, files: JobFiles, workers: Workers, *, owner: str = "bridge", grace: float = 60, cpu: int = 1
    ) -> None:
        self.store = store
        self.files = files
        self.workers = workers
        self.awaited: list[Job] = []
        """Jobs of before a restart whose picture is not here yet: `take_up` is for whoever can bring it."""
        self.ended = 0
        """How many jobs have ended since the start."""
        self._owner = owner
        self._grace = grace
        self._executor = Executor(store, files, workers, cpu=cpu, changed=self._tell_positions)
        self._jobs: dict[str, LiveJob] = {}
        self._unwritten: dict[str, Job] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    # Taking in

    def check_open(self, job_id: str) -> None:
        """Raise where no new job, or not this one, is taken."""
        if self._draining:
            raise ShuttingDown()
        if job_id in self._jobs or self.store.get(job_id) is not None:
            raise DuplicateJob()
        if sum(not each.begun for each in self._jobs.values()) >= MOST_WAITING:
            raise Busy(MOST_WAITING)

    def submit(self, request: JobRequest, listener: Listener) -> int:
        """Take in a job whose picture is here, and write it down; how many go first."""
        self.check_open(request.id)
        live = self._add(request, listener)
        self._start(live)
        return self.position(request.id)

    def expect(self, request: JobRequest, listener: Listener, bring: Bring) -> None:
        """Take in a job whose picture is still to be brought, and write it down."""
        self.check_open(request.id)
        self._start(self._add(request, listener), bring)

    def take_up(self, job: Job, listener: Listener, bring: Bring) -> None:
        """Go on with one of `awaited`."""
        self.awaited.remove(job)
        self._start(LiveJob(job, [listener]), bring)

    # What is known of a job

    def look(self, job_id: str) -> Job | None:
        """What is written of a job: while it has not ended, the object that its end will be written from."""
        live = self._jobs.get(job_id)
        return live.job if live is not None else self._unwritten.get(job_id) or self.store.get(job_id)

    def equal(self, same_as: str) -> Job | None:
        """A job that has not ended, is not being cancelled, and asks for the same."""
        found = (each for each in self._jobs.values() if each.job.request.same_as == same_as != "")
        return next((each.job for each in found if each.why_cancelled is None), None)

    def position(self, job_id: str) -> int:
        """How many jobs go before one that has not begun; those whose picture is on its way come last."""
        live = self._jobs.get(job_id)
        if live is None or live.begun:
            return 0
        for lane in self._executor.scheduler.lanes:
            if job_id in lane:
                return lane.order().index(job_id) + lane.busy
        return sum(each is not live for each in self._jobs.values())

    def attach(self, job_id: str, have: set[int], listener: Listener) -> None:
        """Tell `listener` what it lacks of a job, and all that happens from now on. Raises UnknownJob."""
        live = self._jobs.get(job_id)
        if live is None:
            self._retell(job_id, have, listener)
            return
        if live.leaving is not None:
            live.leaving.cancel()
            live.leaving = None
        if listener not in live.listeners:
            live.listeners.append(listener)
        if live.job.layers is None:
            if live.progress is not None:
                listener(job_id, live.progress)
            return
        listener(job_id, Stacked(live.job.width, live.job.height, live.job.layers))
        for index in sorted(live.ready - have):
            listener(job_id, self._executor.layer(live, index))

    def counts(self) -> dict[str, int]:
        """How many jobs wait, run, and are kept."""
        begun = sum(each.begun for each in self._jobs.values())
        return {"queued": len(self._jobs) - begun, "running": begun, "kept": self.store.count_kept()}

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def pace(self, backend: str) -> float:
        """How many times longer than estimated the backend's jobs take here."""
        return self._executor.pace(backend)

    # What may be done to it

    def cancel(self, job_id: str, why: UnflattenError | None = None, *, spare_begun: bool = False) -> None:
        """Stop a job, wherever it is. One that has ended stays as it ended.

        spare_begun: what a service is at work on already is left to it, and taken up when the same is asked again.
        """
        live = self._jobs.get(job_id)
        if live is None or live.why_cancelled is not None:
            return
        live.why_cancelled = why or Cancelled()
        live.spare_begun = spare_begun
        if live.task is not None:
            live.task.cancel()

    def leave(self, listener: Listener) -> None:
        """Whoever listened is gone. A job that nobody listens to goes on for the time of grace, then is abandoned."""
        for live in list(self._jobs.values()):
            if listener in live.listeners:
                live.listeners.remove(listener)
                self._expect_someone(live)

    def set_attended(self, job_id: str, *, attended: bool) -> None:
        """Whether a job goes on only while someone is connected. Raises OutOfSpace."""
        live = self._jobs.get(job_id)
        if live is not None:
            live.job.request = replace(live.job.request, unattended=not attended)
            self.store.save(live.job)

    def delivered(self, job_id: str) -> None:
        """A client has been sent all of a job's result: who asks for the same again wants another."""
        job = self.store.get(job_id)
        if job is not None and not job.delivered:
            job.delivered = True
            with suppress(OutOfSpace):  # then it is merely served once more
                self.store.save(job)

    # The engine's own life

    def recover(self) -> None:
        """After a start: take up what this owner left unfinished, and erase what it left half-written."""
        for name in self.files.strays(self.store.ids()):
            self.files.erase(name)
        for job in self.store.unfinished(self._owner):
            request, source = job.request, job.request.source
            whole = isinstance(source, RawPicture) and self.files.has_picture(job.id, source.nbytes)
            patience = UNATTENDED_FORGOTTEN_AFTER if request.unattended else FORGOTTEN_AFTER
            fresh = time.time() - job.created < patience
            # a job at a service goes on whatever happened here: it is taken up by its handle, never paid for twice
            attempts = MOST_ATTEMPTS if request.rerun else 1
            if whole and (job.handle is not None or (fresh and job.attempts < attempts)):
                log.info("job %s is taken up again", job.id)
                job.layers = None
                job.state = State.QUEUED
                live = LiveJob(job)
                self._start(live)
                self._expect_someone(live)
            elif fresh and request.unattended and isinstance(source, Awaited):
                self.awaited.append(job)
            else:
                self._jobs[job.id] = live = LiveJob(job)
                self._end(live, State.INTERRUPTED, CutOff())

    async def drain(self, deadline: float) -> None:
        """Take no new jobs, give those that run `deadline` seconds, then end all with a sentence.

        Jobs that go on with nobody connected, and those that a service has, are left for the next start.
        """
        self._draining = True
        for live in [each for each in self._jobs.values() if not each.begun]:
            self._interrupt(live)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), deadline)
        if self._jobs:
            for live in list(self._jobs.values()):
                self._interrupt(live)
            self.workers.kill()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), BREAK_OFF_PATIENCE)

    async def close(self) -> None:
        """After `drain`: end the workers, and close what is open."""
        await self._executor.close()
        await self.workers.close()
        self.store.close()

    def write_down_again(self) -> None:
        """Try again what a full disk kept from being written."""
        for job in list(self._unwritten.values()):
            try:
                self.store.save(job)
            except OutOfSpace:
                return
            del self._unwritten[job.id]
            self.files.erase_picture(job.id)

    async def sweep(self, *, days: float) -> None:
        """Erase results older than `days`, those that have expired, and the oldest where all take too much of the disk.

        Files first, then the row, so that a sweep cut off in between is finished by the next.
        """
        share = int(shutil.disk_usage(self.files.root).total * SHARE_OF_DISK)
        now = time.time()
        overdue = self.store.overdue(ended_before=now - days * DAY, now=now, most_bytes=min(MOST_BYTES, share))
        for job_id in overdue:
            await asyncio.to_thread(self.files.erase, job_id)
            self.store.forget(job_id)

    # One job's life

    def _add(self, request: JobRequest, listener: Listener) -> LiveJob:
        job = Job(request, owner=self._owner)
        if isinstance(request.source, RawPicture):
            job.width, job.height = request.source.width, request.source.height
        self.store.add(job)
        return LiveJob(job, [listener])

    def _start(self, live: LiveJob, bring: Bring | None = None) -> None:
        self._jobs[live.id] = live
        self._idle.clear()
        live.awaited = bring is not None
        live.task = asyncio.create_task(self._live(live, bring))
        live.task.add_done_callback(_log_bug)

    async def _live(self, live: LiveJob, bring: Bring | None) -> None:
        try:
            if bring is not None:
                await self._bring(live, bring)
            await self._wait_for_the_same(live)
            await self._executor.run(live)
        except asyncio.CancelledError:
            if live.interrupted:
                self._break_off(live)
            elif live.why_cancelled is not None:
                self._end(live, State.CANCELLED, live.why_cancelled)
            else:
                raise
        except Exception as error:
            self._fail(live, error)
        else:
            self._end(live, State.DONE)

    async def _bring(self, live: LiveJob, bring: Bring) -> None:
        job = live.job
        source = await bring(job)
        job.request = replace(job.request, source=source)
        job.width, job.height = source.width, source.height
        live.awaited = False
        self.store.save(job)

    async def _wait_for_the_same(self, live: LiveJob) -> None:
        """Wait until no other job asks for the same: its result serves this one too.

        One that a service has already goes first, then the one that was there first.
        """
        while live.job.handle is None and (same := self._first_of_the_same(live)) is not None:
            live.same = same
            same.followers.append(live)
            if same.progress is not None:
                live.show(same.progress)
            await same.over.wait()

    def _first_of_the_same(self, live: LiveJob) -> LiveJob | None:
        same_as = live.job.request.same_as
        equals = [each for each in self._jobs.values() if each.job.request.same_as == same_as != ""]
        with_handle = [each for each in equals if each.job.handle is not None]
        first = next(iter(with_handle or equals), live)
        return None if first is live else first

    def _fail(self, live: LiveJob, error: Exception) -> None:
        """End a job that raised `error`: a cancelled one that could not end in order is cancelled all the same."""
        why = live.why_cancelled
        if live.interrupted:
            self._break_off(live)
        elif why is not None:
            told_more = isinstance(error, Cancelled) and not why.hint
            self._end(live, State.CANCELLED, error if told_more else why)
        elif isinstance(error, UnflattenError):
            self._end(live, State.FAILED, error)
        elif (full := out_of_space(error)) is not None:
            self._end(live, State.FAILED, full)
        else:
            log.error("job %s", live.id, exc_info=error)
            told = UnflattenError("Something went wrong inside the bridge.", "Try again.")
            self._end(live, State.FAILED, told)

    def _interrupt(self, live: LiveJob) -> None:
        if not live.interrupted:
            live.interrupted = True
            if live.task is not None:
                live.task.cancel()

    def _break_off(self, live: LiveJob) -> None:
        """The engine ends before the job did. The next one goes on with what a service has, and with what needs nobody
        connected."""
        job = live.job
        if job.handle is None and not job.request.unattended:
            self._end(live, State.INTERRUPTED, CutOff())
            return
        log.info("job %s goes on without the bridge", job.id)
        if job.handle is None and job.state is not State.QUEUED:
            job.state = State.QUEUED
            job.attempts -= 1  # an orderly end is not the job's fault
            with suppress(OutOfSpace):  # then it counts as cut off by a crash
                self.store.save(job)
        self._remove(live)
        if not job.request.unattended:
            live.tell(Failed(GoesOn()))

    def _end(self, live: LiveJob, state: State, error: UnflattenError | None = None) -> None:
        """Write down how a job ended, then tell it. What is of no more use is erased first, which may make the room."""
        job = live.job
        job.state, job.error, job.ended = state, error, time.time()
        if state is not State.DONE:
            job.report = None
            self.files.erase(job.id)
        elif not isinstance(job.request.output, RawLayers):
            job.delivered = True  # it stays where it is fetched from: who asks again wants another
        try:
            self.store.save(job)
        except OutOfSpace:
            self._unwritten[job.id] = job
            log.error("job %s: its end could not be written down, the disk is full", job.id)
        else:
            self.files.erase_picture(job.id)
            self.store.note_size(job.id, self.files.used(job.id))
        log.info("job %s %s%s", job.id, state.value, f" ({error.code})" if error else "")
        self.ended += 1
        self._remove(live)
        live.tell(Failed(error) if error is not None else Done(job.report or {}))

    def _remove(self, live: LiveJob) -> None:
        del self._jobs[live.id]
        if live.leaving is not None:
            live.leaving.cancel()
        live.over.set()
        if not self._jobs:
            self._idle.set()

    # Listeners

    def _tell_positions(self, lane: Lane) -> None:
        """Tell those who wait in a lane how many pictures go first, where that has changed."""
        for place, job_id in enumerate(lane.order()):
            first = place + lane.busy
            live = self._jobs[job_id]
            if first and not live.begun:
                live.show(Progressed(f"Waiting for {first} other picture{'s' if first > 1 else ''}", 0, 1))

    def _expect_someone(self, live: LiveJob) -> None:
        if not live.listeners and live.leaving is None and not live.job.request.unattended:
            live.leaving = asyncio.get_running_loop().call_later(self._grace, self._abandon, live)

    def _abandon(self, live: LiveJob) -> None:
        if live.job.handle is None:  # what a service has may be paid for already: it goes on to its end
            self.cancel(live.id, Abandoned())

    def _retell(self, job_id: str, have: set[int], listener: Listener) -> None:
        """Tell of a job that has ended."""
        job = self.look(job_id)
        if job is None:
            raise UnknownJob()
        if job.state is not State.DONE or job.layers is None:
            listener(job_id, Failed(job.error or CutOff()))
            return
        layers = job.layers
        if not all(self.files.has_layer(job_id, index, job.layer_nbytes(each)) for index, each in enumerate(layers)):
            listener(job_id, Failed(LayersGone()))
            return
        listener(job_id, Stacked(job.width, job.height, layers))
        for index, outline in enumerate(layers):
            if index not in have:
                listener(job_id, LayerReady(index, outline, self.files.layer(job_id, index)))
        listener(job_id, Done(job.report or {}))
