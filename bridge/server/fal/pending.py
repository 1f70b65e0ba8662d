"""A request as its client knows it; while it is not over, what it has logged so far, and whoever waits for more."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bridge import clock
from bridge.jobs.errors import CutOff
from bridge.jobs.job import Job, Progressed, State
from bridge.server.fal.errors import FalError, of_error, unprocessable
from bridge.server.fal.records import LogLine, RequestRecord

MOST_LINES = 500
"""Lines of one request's log."""


class PendingRequest:
    """One request between its arrival and its end. job: the engine's own object; record: what the API keeps beside."""

    def __init__(self, job: Job, record: RequestRecord) -> None:
        self.job = job
        self.record = record
        self.over = asyncio.Event()
        """Set once its result, or its failure, can be fetched."""
        self.waiting = 0
        """How many clients hold a connection for its result."""
        self.patience: asyncio.TimerHandle | None = None
        """Runs out when it has not begun in time."""
        self.leaving: asyncio.TimerHandle | None = None
        """Runs out when nobody came back for it."""
        self.version = 0
        """Grows with each change."""
        self._changed = asyncio.Event()

    @property
    def begun(self) -> bool:
        return self.job.state is not State.QUEUED

    async def beginning(self) -> None:
        """Return once the job runs, or is over."""
        while not self.begun and not self.over.is_set():
            await self._changed.wait()  # no step is heard between these two lines

    def hear(self, step: Progressed) -> None:
        """Log a step of its job."""
        if self.begun and self.record.started is None:
            self.record.started = clock.now()
        counted = f" ({step.step} of {step.steps})" if step.steps > 1 else ""
        self.say(step.stage + counted)

    def say(self, message: str) -> None:
        """Add a line to the log, unless it is the last one's text again."""
        log = self.record.log
        if log and log[-1]["message"] == message:
            return
        if len(log) < MOST_LINES:
            log.append(LogLine(message=message, level="INFO", source="USER", timestamp=iso(clock.now())))
        self._wake()

    async def change(self, seen: int, seconds: float) -> bool:
        """Return once there is another version than `seen`, or after so long; whether there is one."""
        if self.version == seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        return self.version != seen

    def end(self) -> None:
        """It is over: tell all who wait."""
        self.over.set()
        self.stop_clocks()
        self._wake()

    def be_patient(self) -> None:
        """It may begin whenever its turn comes."""
        self.record.start_by = None
        self.patience = _cancelled(self.patience)

    def stay(self) -> None:
        """Someone waits for it again, or it goes on with nobody."""
        self.leaving = _cancelled(self.leaving)

    def stop_clocks(self) -> None:
        self.patience, self.leaving = _cancelled(self.patience), _cancelled(self.leaving)

    @asynccontextmanager
    async def attended(self) -> AsyncGenerator[None]:
        """Someone holds a connection for it."""
        self.waiting += 1
        self.stay()
        try:
            yield
        finally:
            self.waiting -= 1

    def _wake(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True)
class FalRequest:
    """A request as its client knows it. pending: what it was before it was over, where this process saw that."""

    job: Job
    record: RequestRecord
    unwritten_prompt: str | None = None
    pending: PendingRequest | None = None

    @property
    def id(self) -> str:
        return str(uuid.UUID(self.job.id))

    @property
    def prompt(self) -> str:
        """The prompt; empty where it may not be kept and the API was closed since."""
        return self.unwritten_prompt or self.job.request.settings.prompt

    @property
    def over(self) -> bool:
        """Whether its result, or its failure, can be fetched."""
        return self.job.state.ended if self.pending is None else self.pending.over.is_set()

    @property
    def failure(self) -> FalError | None:
        """What went wrong with it, once it is over; None where nothing did."""
        return failure_of(self.job, self.record)


def failure_of(job: Job, record: RequestRecord) -> FalError | None:
    """What went wrong with a request that is over; None where nothing did."""
    if record.wrong is not None:
        return unprocessable(record.wrong)
    return None if job.state is State.DONE else of_error(job.error or CutOff())


def _cancelled(clock: asyncio.TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()


def iso(seconds: float) -> str:
    """A moment, in seconds since the epoch, as fal writes it."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
