"""How jobs end: what is written down, what is erased, and what their listeners are told."""

import asyncio
import logging
from contextlib import suppress

from bridge.clock import now
from bridge.errors import Cancelled, UnflattenError
from bridge.files.disk import out_of_space
from bridge.jobs.errors import CutOff, GoesOn
from bridge.jobs.files import JobFiles
from bridge.jobs.job import Done, Failed, Job, RawLayers, State
from bridge.jobs.live import LiveJob, LiveJobs
from bridge.jobs.store import Store

log = logging.getLogger("unflatten")


class Endings:
    """Ends the jobs of one engine."""

    def __init__(self, store: Store, files: JobFiles, jobs: LiveJobs) -> None:
        self._store = store
        self._files = files
        self._jobs = jobs
        self._unwritten: dict[str, Job] = {}
        self.count = 0
        """How many jobs have ended since the start."""

    def unwritten(self, job_id: str) -> Job | None:
        """A job that has ended, and whose end a full disk kept from being written down."""
        return self._unwritten.get(job_id)

    def settle(self, live: LiveJob, task: asyncio.Task[None]) -> None:
        """The task that ran a job has ended: so has the job, or this engine's part in it."""
        if not task.cancelled():
            error = task.exception()
            if error is None:
                self.end(live, State.DONE)
            elif isinstance(error, Exception):
                self.fail(live, error)
        elif live.interrupted:
            self.break_off(live)
        elif live.why_cancelled is not None:
            self.end(live, State.CANCELLED, live.why_cancelled)

    def end(self, live: LiveJob, state: State, error: UnflattenError | None = None) -> None:
        """Write down how a job ended, then tell it. What is of no more use is erased first, which may make the room."""
        job = live.job
        job.state, job.error, job.ended = state, error, now()
        if state is not State.DONE:
            job.report = None
            self._files.erase(job.id)
        elif not isinstance(job.request.output, RawLayers):
            job.delivered = True  # it stays where it is fetched from: who asks again wants another
        try:
            self._write(job)
        except UnflattenError as problem:
            self._unwritten[job.id] = job
            log.error("job %s: its end could not be written down (%s)", job.id, problem.code)
        log.info("job %s %s%s", job.id, state.value, f" ({error.code})" if error else "")
        self.count += 1
        self._jobs.remove(live)
        live.tell(Failed(error) if error is not None else Done(job.report or {}))

    def fail(self, live: LiveJob, error: Exception) -> None:
        """End a job that raised `error`: a cancelled one that could not end in order is cancelled all the same."""
        why = live.why_cancelled
        if live.interrupted:
            self.break_off(live)
        elif why is not None:
            self.end(live, State.CANCELLED, error if isinstance(error, Cancelled) and not why.hint else why)
        elif isinstance(error, UnflattenError):
            self.end(live, State.FAILED, error)
        elif (full := out_of_space(error)) is not None:
            self.end(live, State.FAILED, full)
        else:
            log.error("job %s", live.id, exc_info=error)
            told = UnflattenError("Something went wrong inside the bridge.", "Try again.")
            self.end(live, State.FAILED, told)

    def break_off(self, live: LiveJob) -> None:
        """The engine ends before the job did. The next one goes on with what a service has, and with what needs nobody
        connected."""
        job = live.job
        if job.handle is None and not job.request.unattended:
            self.end(live, State.INTERRUPTED, CutOff())
            return
        log.info("job %s goes on without the bridge", job.id)
        if job.handle is None and job.state is not State.QUEUED:
            job.state = State.QUEUED
            job.attempts -= 1  # an orderly end is not the job's fault
            with suppress(UnflattenError):  # then it counts as cut off by a crash
                self._store.save(job)
        self._jobs.remove(live)
        if not job.request.unattended:
            live.tell(Failed(GoesOn()))

    def write_down_again(self) -> None:
        """Try again what a full disk kept from being written."""
        for job in list(self._unwritten.values()):
            try:
                self._write(job)
            except UnflattenError:
                return
            del self._unwritten[job.id]

    def _write(self, job: Job) -> None:
        self._store.save(job)
        self._files.erase_picture(job.id)
        self._store.note_size(job.id, self._files.used(job.id))
