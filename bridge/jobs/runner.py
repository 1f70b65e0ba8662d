"""Takes jobs in, runs them one after another, writes down how each went, and tells whoever listens."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import aclosing, suppress
from typing import Any

from bridge import preferences
from bridge.errors import Cancelled, OutOfSpace, UnflattenError
from bridge.jobs import twins
from bridge.jobs.events import Done, Failed, LayerReady, Listener, Progressed, Stacked
from bridge.jobs.journal import Entry, Journal, Outline, State
from bridge.jobs.live import LiveJob, ending
from bridge.jobs.queue import Queue
from bridge.jobs.reasons import (
    Abandoned,
    Busy,
    CutOff,
    DuplicateJob,
    GoesOn,
    LayersGone,
    ShuttingDown,
    UnknownJob,
)
from bridge.jobs.spool import Spool
from bridge.jobs.workshop import Workshop

MOST_WAITING = 500
MOST_ATTEMPTS = 2
"""A job that was cut off twice is not run a third time by itself: it may be what brings the bridge down."""
FORGOTTEN_AFTER = 3600.0
"""Seconds after which nobody waits any more for a job that a crash cut off."""
UNATTENDED_FORGOTTEN_AFTER = 86_400.0
"""The same for a job that goes on with nobody connected."""

Bring = Callable[[Entry], Awaitable[None]]
"""Brings a job's picture into the spool, and its width and height into the entry. Raises where it cannot be had."""

log = logging.getLogger("unflatten")


class Runner:
    """The jobs of one bridge. grace: seconds that a job goes on for when its client is gone."""

    def __init__(self, journal: Journal, spool: Spool, workshop: Workshop, *, grace: float) -> None:
        self.spool = spool
        self.workshop = workshop
        self._journal = journal
        self._grace = grace
        self._queue = Queue()
        self._jobs: dict[str, LiveJob] = {}
        self._unwritten: dict[str, Entry] = {}
        self._running: LiveJob | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self.ended = 0
        """How many jobs have ended since the start."""
        self.unbrought: list[Entry] = []
        """Jobs of before a restart whose picture is not here yet: `take_up` is for whoever can bring it."""

    # What the doors ask

    def check_open(self, job: str) -> None:
        """Raise where no new job, or not this one, is taken."""
        if self._draining:
            raise ShuttingDown()
        if job in self._jobs or self._journal.get(job) is not None:
            raise DuplicateJob()
        if len(self._jobs) - int(self._running is not None) >= MOST_WAITING:
            raise Busy(MOST_WAITING)

    def choose(self, entry: Entry) -> None:
        """Settle who splits where the client names nobody: what is preferred now, whatever is when it runs."""
        entry.backend = entry.backend or preferences.read().backend

    def submit(self, entry: Entry, client: Hashable, listener: Listener) -> int:
        """Take in a job whose picture lies whole in the spool, and write it down; how many go first."""
        self.check_open(entry.id)
        self._journal.add(entry)
        job = LiveJob(entry, client, [listener])
        job.meets = next((other.entry.id for other in self._equals(entry)), None)
        self._enqueue(job)
        return self.position(entry.id)

    def expect(self, entry: Entry, client: Hashable, listener: Listener, bring: Bring) -> None:
        """Take in a job whose picture is still to be brought: written down now, queued when `bring` has ended."""
        self.check_open(entry.id)
        self._journal.add(entry)
        self._await_picture(LiveJob(entry, client, [listener]), bring)

    def take_up(self, entry: Entry, client: Hashable, listener: Listener, bring: Bring) -> None:
        """Go on with one of `unbrought`."""
        self.unbrought.remove(entry)
        self._await_picture(LiveJob(entry, client, [listener]), bring)

    def look(self, job_id: str) -> Entry | None:
        """What is written of a job: while it has not ended, the entry that its end will be written from."""
        job = self._jobs.get(job_id)
        return job.entry if job is not None else self._unwritten.get(job_id) or self._journal.get(job_id)

    def position(self, job_id: str) -> int:
        """How many jobs go before one that has not begun; those whose picture is still on its way come last."""
        waiting = [*self._queue.order(), *(each for each, job in self._jobs.items() if job.bringing is not None)]
        return (waiting.index(job_id) if job_id in waiting else 0) + int(self._running is not None)

    def attach(self, job_id: str, have: set[int], listener: Listener) -> None:
        """Tell `listener` what it lacks of a job, and all that happens from now on. Raises where there is none."""
        job = self._jobs.get(job_id)
        if job is None:
            self._retell(job_id, have, listener)
            return
        if job.leaving is not None:
            job.leaving.cancel()
            job.leaving = None
        if listener not in job.listeners:
            job.listeners.append(listener)
        if job.entry.layers is None:
            if job.progress is not None:
                listener(job_id, job.progress)
            return
        listener(job_id, Stacked(job.entry.width, job.entry.height, job.entry.layers))
        for index in sorted(job.ready - have):
            listener(job_id, self._layer(job.entry, index))

    def cancel(self, job_id: str, why: UnflattenError | None = None) -> None:
        """Stop a job, wherever it is. One that has ended stays as it ended."""
        job = self._jobs.get(job_id)
        if job is None or job.why_cancelled is not None:
            return
        job.why_cancelled = why or Cancelled()
        if job.bringing is not None:
            job.bringing.cancel()
        elif self._queue.remove(job_id):
            self._end(job, State.CANCELLED, job.why_cancelled)
            self._tell_positions()
        else:
            self.workshop.cancel(job_id)

    def leave(self, listener: Listener) -> None:
        """Whoever listened is gone. A job that nobody listens to goes on for the time of grace, then is abandoned."""
        for job in list(self._jobs.values()):
            if listener in job.listeners:
                job.listeners.remove(listener)
                self._expect_someone(job)

    def delivered(self, job_id: str) -> None:
        """A client has been sent all of a job's result: who asks for the same again wants another."""
        entry = self._journal.get(job_id)
        if entry is not None and not entry.delivered:
            entry.delivered = True
            with suppress(OutOfSpace):  # then it is merely served once more
                self._journal.write(entry)

    async def backends(self) -> list[dict[str, Any]]:
        return (await self.workshop.ask("backends"))["backends"]

    async def estimate(
        self, backend: str | None, settings: dict[str, Any], width: int, height: int
    ) -> tuple[float, float]:
        """Seconds and US dollars that such a job would take."""
        answer = await self.workshop.ask("estimate", backend=backend, settings=settings, width=width, height=height)
        return answer["seconds"], answer["dollars"]

    def counts(self) -> dict[str, int]:
        running = int(self._running is not None)
        return {"queued": len(self._queue), "running": running, "kept": self._journal.count_kept()}

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    # Life

    def recover(self) -> None:
        """After a start: take up what the last bridge left unfinished, and erase what it left half-written."""
        for name in self.spool.strays(self._journal.ids()):
            self.spool.erase(name)
        for entry in self._journal.unfinished():
            job = LiveJob(entry, client=entry.id)
            whole = self.spool.has_picture(entry.id, entry.nbytes)
            fresh = time.time() - entry.created < (UNATTENDED_FORGOTTEN_AFTER if entry.unattended else FORGOTTEN_AFTER)
            # a remote job goes on whatever happened here: it is taken up by its handle, never paid for twice
            attempts = MOST_ATTEMPTS if (entry.extra or {}).get("retry", True) else 1
            if whole and (entry.handle is not None or (fresh and entry.attempts < attempts)):
                log.info("job %s is taken up again", entry.id)
                entry.layers = None
                self._enqueue(job)
                self._expect_someone(job)
            elif fresh and entry.unattended and not entry.width:
                self.unbrought.append(entry)
            else:
                self._jobs[entry.id] = job
                self._end(job, State.INTERRUPTED, CutOff())

    async def run(self) -> None:
        """Run jobs as they come, for ever."""
        while True:
            self._wake.clear()
            job_id = self._queue.take()
            if job_id is None:
                await self._wake.wait()
                continue
            job_id = self._begun_first(job_id)
            self._running = self._jobs[job_id]
            try:
                await self._run(self._running)
            finally:
                self._running = None

    async def drain(self, deadline: float) -> None:
        """Take no new jobs, give the running one `deadline` seconds, then end all with a sentence.

        Jobs that go on with nobody connected are left for the next start.
        """
        self._draining = True
        for job in [each for each in self._jobs.values() if each is not self._running]:
            job.interrupted = True
            if job.bringing is not None:
                job.bringing.cancel()
            else:
                self._queue.remove(job.entry.id)
                self._break_off(job)
        try:
            await asyncio.wait_for(self._idle.wait(), deadline)
        except TimeoutError:
            if self._running is not None:
                self._running.interrupted = True
                self.workshop.kill()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), 5)

    # One job

    async def _run(self, job: LiveJob) -> None:
        entry = job.entry
        try:
            entry.state = State.RUNNING
            entry.attempts += 1
            self._journal.write(entry)
            self._tell_positions()
            if await self._serve_again(job):
                return
            if job.why_cancelled is not None:
                raise job.why_cancelled
            async with aclosing(self.workshop.run(entry.id, self._order(entry))) as events:
                async for event in events:
                    self._apply(job, event)
        except Exception as error:
            self._fail(job, error)
        else:
            self._end(job, State.DONE)

    def _await_picture(self, job: LiveJob, bring: Bring) -> None:
        self._jobs[job.entry.id] = job
        self._idle.clear()
        job.bringing = asyncio.create_task(self._bring(job, bring))

    async def _bring(self, job: LiveJob, bring: Bring) -> None:
        try:
            await bring(job.entry)
            self._journal.write(job.entry)
        except asyncio.CancelledError:
            self._fail(job, Cancelled())
        except Exception as error:
            self._fail(job, error)
        else:
            job.bringing = None
            self._enqueue(job)
            self._tell_positions()

    def _fail(self, job: LiveJob, error: Exception) -> None:
        """End a job that raised `error`."""
        if job.interrupted:
            self._break_off(job)
        else:
            state, shown = ending(job, error)
            self._end(job, state, shown)

    def _break_off(self, job: LiveJob) -> None:
        """The bridge ends before the job did. The next one goes on with what a remote service has, and with what needs
        nobody connected."""
        entry = job.entry
        if entry.handle is None and not entry.unattended:
            self._end(job, State.INTERRUPTED, CutOff())
            return
        log.info("job %s goes on without the bridge", entry.id)
        if entry.handle is None and entry.state is not State.QUEUED:
            entry.state = State.QUEUED
            entry.attempts -= 1  # an orderly end is not the job's fault
            with suppress(OutOfSpace):  # then it counts as cut off by a crash
                self._journal.write(entry)
        del self._jobs[entry.id]
        if not entry.unattended:
            job.tell(Failed(GoesOn()))
        if not self._jobs:
            self._idle.set()

    # The same asked for twice

    def _equals(self, entry: Entry) -> list[LiveJob]:
        """Other jobs that have not ended and ask for the same."""
        if not entry.digest:
            return []
        return [job for job in self._jobs.values() if job.entry.digest == entry.digest and job.entry.id != entry.id]

    def _begun_first(self, job_id: str) -> str:
        """Which of `job_id` and its equals comes now: one that a remote service has already, so that it serves all."""
        entry = self._jobs[job_id].entry
        for other in self._equals(entry) if entry.handle is None else []:
            if other.entry.handle is not None and self._queue.remove(other.entry.id):
                job = self._jobs[job_id]
                self._queue.add(job_id, job.client, batch=entry.batch)
                job.meets = other.entry.id
                return other.entry.id
        return job_id

    async def _serve_again(self, job: LiveJob) -> bool:
        """Whether an earlier job's result is this one's, too; where only its remote service has it, go on with that."""
        entry = job.entry
        other = twins.find(entry, self._journal, met=job.meets) if entry.handle is None else None
        if other is None:
            return False
        if not await asyncio.to_thread(twins.take_over_result, entry, other, self.spool):
            twins.take_over_handle(entry, other, self._journal)
            return False
        assert entry.layers is not None
        entry.state = State.FINISHING
        self._journal.write(entry)
        job.tell(Stacked(entry.width, entry.height, entry.layers))
        for index in range(len(entry.layers)):
            job.tell(self._layer(entry, index))
        self._end(job, State.DONE)
        return True

    # What the worker tells

    def _order(self, entry: Entry) -> dict[str, Any]:
        return {
            "folder": str(self.spool.folder(entry.id).absolute()),
            "width": entry.width,
            "height": entry.height,
            "channels": entry.channels,
            "model": entry.model,
            "depth": entry.depth,
            "view": entry.view,
            "profile_bytes": entry.profile_bytes,
            "settings": entry.settings,
            "backend": entry.backend,
            "handle": entry.handle,
            "others": self._journal.handles(entry.id),
        }

    def _apply(self, job: LiveJob, event: dict[str, Any]) -> None:
        """Write down and pass on one event of the worker's."""
        entry = job.entry
        match event["event"]:
            case "progress":
                job.progress = Progressed(event["stage"], event["step"], event["steps"], event.get("seconds_left"))
                job.tell(job.progress)
                for other in self._equals(entry) if entry.handle is not None else []:
                    other.progress = job.progress
                    other.tell(job.progress)
            case "handle":
                entry.handle = event["text"] or None
                self._journal.write(entry, durable=True)
                self.workshop.go(entry.id)
            case "stack":
                entry.layers = tuple(Outline(name, kind, tuple(rect)) for name, kind, rect in event["layers"])
                entry.state = State.FINISHING
                self._journal.write(entry)
                job.tell(Stacked(entry.width, entry.height, entry.layers))
            case "layer":
                job.ready.add(event["index"])
                job.tell(self._layer(entry, event["index"]))
            case "done":
                entry.report = event["report"]
            case _:
                pass

    def _end(self, job: LiveJob, state: State, error: UnflattenError | None = None) -> None:
        """Write down how a job ended, then tell it. What is of no more use is erased first, which may make the room."""
        entry = job.entry
        entry.state, entry.error, entry.ended = state, error, time.time()
        if state is not State.DONE:
            entry.report = None
            self.spool.erase(entry.id)
        try:
            self._journal.write(entry)
        except OutOfSpace:
            self._unwritten[entry.id] = entry
            log.error("job %s: its end could not be written down, the disk is full", entry.id)
        else:
            self.spool.erase_picture(entry.id)
        log.info("job %s %s%s", entry.id, state.value, f" ({error.code})" if error else "")
        del self._jobs[entry.id]
        self.ended += 1
        if job.leaving is not None:
            job.leaving.cancel()
        job.tell(Failed(error) if error is not None else Done(entry.report or {}))
        if not self._jobs:
            self._idle.set()

    def write_down_again(self) -> None:
        """Try again what a full disk kept from being written."""
        for entry in list(self._unwritten.values()):
            try:
                self._journal.write(entry)
            except OutOfSpace:
                return
            del self._unwritten[entry.id]
            self.spool.erase_picture(entry.id)

    def _enqueue(self, job: LiveJob) -> None:
        self._jobs[job.entry.id] = job
        job.entry.state = State.QUEUED
        self._queue.add(job.entry.id, job.client, batch=job.entry.batch)
        self._idle.clear()
        self._wake.set()

    def _tell_positions(self) -> None:
        """Tell those who wait how many pictures go first, where that has changed."""
        for place, job_id in enumerate(self._queue.order()):
            first = place + int(self._running is not None)
            told = Progressed(f"Waiting for {first} other picture{'s' if first > 1 else ''}", 0, 1)
            job = self._jobs[job_id]
            if first and told != job.progress:
                job.progress = told
                job.tell(told)

    def _expect_someone(self, job: LiveJob) -> None:
        if not job.listeners and job.leaving is None and not job.entry.unattended:
            job.leaving = asyncio.get_running_loop().call_later(self._grace, self._abandon, job)

    def _abandon(self, job: LiveJob) -> None:
        if job.entry.handle is None:  # what a remote service has may be paid for already: it goes on to its end
            self.cancel(job.entry.id, Abandoned())

    def _layer(self, entry: Entry, index: int) -> LayerReady:
        assert entry.layers is not None
        return LayerReady(index, entry.layers[index], self.spool.layer(entry.id, index))

    def _retell(self, job_id: str, have: set[int], listener: Listener) -> None:
        """Tell of a job that has ended."""
        entry = self.look(job_id)
        if entry is None:
            raise UnknownJob()
        if entry.state is not State.DONE or entry.layers is None:
            listener(job_id, Failed(entry.error or CutOff()))
            return
        if not all(
            self.spool.has_layer(job_id, index, entry.layer_nbytes(each)) for index, each in enumerate(entry.layers)
        ):
            listener(job_id, Failed(LayersGone()))
            return
        listener(job_id, Stacked(entry.width, entry.height, entry.layers))
        for index in range(len(entry.layers)):
            if index not in have:
                listener(job_id, self._layer(entry, index))
        listener(job_id, Done(entry.report or {}))
