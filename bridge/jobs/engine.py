"""The engine: takes jobs in, has each run in its lanes, writes down how it went, and tells whoever listens."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from bridge.backends import registry
from bridge.clock import now
from bridge.errors import Cancelled, UnflattenError
from bridge.jobs.endings import Endings
from bridge.jobs.errors import Abandoned, Busy, CutOff, DuplicateJob, ShuttingDown, UnknownJob
from bridge.jobs.executor import Executor
from bridge.jobs.files import JobFiles
from bridge.jobs.job import Awaited, Job, JobRequest, Listener, RawPicture, State
from bridge.jobs.listening import Listening
from bridge.jobs.live import LiveJob, LiveJobs
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

Bring = Callable[[Job], Awaitable[RawPicture]]
"""Brings a job's picture into its folder; what it is. Raises UnflattenError where it cannot be had."""

log = logging.getLogger("unflatten")


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
        self._owner = owner
        self._jobs = LiveJobs()
        self._listening = Listening(self._jobs, files, abandon=lambda job: self.cancel(job, Abandoned()), grace=grace)
        self.executor = Executor(store, files, workers, cpu=cpu, changed=self._listening.tell_positions)
        self.endings = Endings(store, files, self._jobs)
        self._draining = False

    # Taking in

    def check_open(self, job_id: str) -> None:
        """Raise where no new job, or not this one, is taken."""
        if self._draining:
            raise ShuttingDown()
        if self._jobs.get(job_id) is not None or self.store.get(job_id) is not None:
            raise DuplicateJob()
        if len(self._jobs) - self._jobs.begun >= MOST_WAITING:
            raise Busy(MOST_WAITING)

    def submit(self, request: JobRequest, listener: Listener) -> int:
        """Take in a job whose picture is here, and write it down; how many go first."""
        self.check_open(request.id)
        live = _written_down(request, listener, self._owner, self.store)
        self._start(live)
        return self.position(request.id)

    def expect(self, request: JobRequest, listener: Listener, bring: Bring) -> None:
        """Take in a job whose picture is still to be brought, and write it down."""
        self.check_open(request.id)
        self._start(_written_down(request, listener, self._owner, self.store), bring)

    def take_up(self, job: Job, listener: Listener, bring: Bring) -> None:
        """Go on with one of `awaited`."""
        self.awaited.remove(job)
        self._start(LiveJob(job, [listener]), bring)

    # What is known of a job

    def look(self, job_id: str) -> Job | None:
        """What is written of a job: while it has not ended, the object that its end will be written from."""
        live = self._jobs.get(job_id)
        return live.job if live is not None else self.endings.unwritten(job_id) or self.store.get(job_id)

    def equal(self, same_as: str) -> Job | None:
        """A job that has not ended, is not being cancelled, and asks for the same."""
        return next((each.job for each in self._jobs.same(same_as) if each.why_cancelled is None), None)

    def position(self, job_id: str) -> int:
        """How many jobs of its lane go before one that has not begun."""
        live = self._jobs.get(job_id)
        if live is None or live.begun:
            return 0
        request = live.job.request
        lane = self.executor.scheduler.lane(registry.get(request.backend).placement)
        return lane.position(job_id, request.client, batch=request.batch)

    def attach(self, job_id: str, have: set[int], listener: Listener) -> None:
        """Tell `listener` what it lacks of a job, and all that happens from now on. Raises UnknownJob."""
        live = self._jobs.get(job_id)
        if live is not None:
            self._listening.join(live, have, listener)
        elif (job := self.look(job_id)) is not None:
            self._listening.retell(job, have, listener)
        else:
            raise UnknownJob()

    def counts(self) -> dict[str, int]:
        """How many jobs wait, run, and are kept."""
        begun = self._jobs.begun
        return {"queued": len(self._jobs) - begun, "running": begun, "kept": self.store.count_kept()}

    @property
    def busy(self) -> bool:
        return len(self._jobs) > 0

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
        self._listening.leave(listener)

    def set_attended(self, job_id: str, *, attended: bool) -> None:
        """Whether a job goes on only while someone is connected. Raises OutOfSpace."""
        live = self._jobs.get(job_id)
        if live is not None:
            live.job.request = replace(live.job.request, unattended=not attended)
            self.store.save(live.job)

    # The engine's own life

    def recover(self) -> None:
        """After a start: take up what this owner left unfinished, and erase what it left half-written."""
        for name in self.files.strays(self.store.ids()):
            self.files.erase(name)
        for job in self.store.unfinished(self._owner):
            try:
                self._recover(job)
            except Exception as error:  # one job that cannot be taken up must not keep the others from it
                log.error("job %s cannot be taken up", job.id, exc_info=error)

    def _recover(self, job: Job) -> None:
        request, source = job.request, job.request.source
        whole = isinstance(source, RawPicture) and self.files.has_picture(job.id, source.nbytes)
        patience = UNATTENDED_FORGOTTEN_AFTER if request.unattended else FORGOTTEN_AFTER
        fresh = now() - job.created < patience
        # a job at a service goes on whatever happened here: it is taken up by its handle, never paid for twice
        attempts = MOST_ATTEMPTS if request.rerun else 1
        if whole and (job.handle is not None or (fresh and job.attempts < attempts)):
            log.info("job %s is taken up again", job.id)
            job.layers = None
            job.state = State.QUEUED
            live = LiveJob(job)
            self._start(live)
            self._listening.expect_someone(live)
        elif fresh and request.unattended and isinstance(source, Awaited):
            self.awaited.append(job)
        else:
            self._jobs.add(live := LiveJob(job))
            self.endings.end(live, State.INTERRUPTED, CutOff())

    async def drain(self, deadline: float) -> None:
        """Take no new jobs, give those that run `deadline` seconds, then end all with a sentence.

        Jobs that go on with nobody connected, and those that a service has, are left for the next start.
        """
        self._draining = True
        for live in self._jobs:
            if not live.begun:
                live.interrupt()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._jobs.idle.wait(), deadline)
        if len(self._jobs):
            for live in self._jobs:
                live.interrupt()
            self.workers.kill()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._jobs.idle.wait(), BREAK_OFF_PATIENCE)

    async def close(self) -> None:
        """After `drain`: end the workers, and close what is open."""
        await self.executor.close()
        await self.workers.close()
        self.store.close()

    # One job's life

    def _start(self, live: LiveJob, bring: Bring | None = None) -> None:
        self._jobs.add(live)
        live.task = asyncio.create_task(self._run(live, bring))
        # as a callback: a task that is cancelled before its first step runs none of its own code
        live.task.add_done_callback(lambda task: self.endings.settle(live, task))

    async def _run(self, live: LiveJob, bring: Bring | None) -> None:
        if bring is not None:
            job = live.job
            source = await bring(job)
            job.request = replace(job.request, source=source)
            job.width, job.height = source.width, source.height
            self.store.save(job)
        await self.executor.run(live, self._jobs)


def _written_down(request: JobRequest, listener: Listener, owner: str, store: Store) -> LiveJob:
    """A new job, on the disk. Raises OutOfSpace."""
    job = Job(request, owner=owner)
    if isinstance(request.source, RawPicture):
        job.width, job.height = request.source.width, request.source.height
    store.add(job)
    return LiveJob(job, [listener])
