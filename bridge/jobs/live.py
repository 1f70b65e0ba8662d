"""A job between its coming and its end, and whoever listens to it."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.backends.base import Progress
from bridge.errors import UnflattenError
from bridge.jobs.job import Job, JobEvent, Listener, Progressed, SavedImage, State
from bridge.settings import MAX_SEED, Settings


@dataclass
class Clock:
    """Seconds that a job was estimated to take, and when it began."""

    estimated: float
    began: float = field(default_factory=time.monotonic)

    @property
    def taken(self) -> float:
        return time.monotonic() - self.began

    def left(self, step: int, steps: int) -> float | None:
        """Seconds left after `step` of `steps`; past the estimate as many for each as so far. None: nobody can tell."""
        taken = self.taken
        if taken < self.estimated:
            return round(self.estimated - taken, 1)
        return round(taken * (steps - step) / step, 1) if 0 < step < steps else None


@dataclass(eq=False)
class LiveJob:
    """A job that has not ended.

    ready: layers whose files are whole; images: those saved as image files. why_cancelled: once it is to end;
    spare_begun: what a service is at work on is then left to it. interrupted: the engine ends before the job does.
    leaving: runs out once nobody listens. same: an equal job that was there
    before, whose result will serve this one too; followers: those that it serves. task: runs it; over: set at its end.
    """

    job: Job
    listeners: list[Listener] = field(default_factory=list[Listener])
    ready: set[int] = field(default_factory=set[int])
    images: dict[int, SavedImage] = field(default_factory=dict[int, SavedImage])
    progress: Progressed | None = None
    why_cancelled: UnflattenError | None = None
    spare_begun: bool = False
    interrupted: bool = False
    leaving: asyncio.TimerHandle | None = None
    same: "LiveJob | None" = None
    followers: "list[LiveJob]" = field(default_factory=list["LiveJob"])
    clock: Clock | None = None
    task: asyncio.Task[None] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    seed: int = field(init=False)

    def __post_init__(self) -> None:
        self.seed = seed_of(self.job.request.settings)

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def begun(self) -> bool:
        return self.job.state is not State.QUEUED

    def interrupt(self) -> None:
        """The engine ends before the job did."""
        if not self.interrupted:
            self.interrupted = True
            if self.task is not None:
                self.task.cancel()

    def tell(self, event: JobEvent) -> None:
        """Tell all listeners."""
        for listener in list(self.listeners):
            listener(self.id, event)

    def progressed(self, step: Progress) -> None:
        """A step is done: tell it with the time left, to those too who wait for the same."""
        left = step.seconds_left
        if left is None and self.clock is not None:
            left = self.clock.left(step.step, step.steps)
        self.show(Progressed(step.stage, step.step, step.steps, left))

    def show(self, progress: Progressed) -> None:
        """Tell progress, unless it is what was told last."""
        for live in (self, *self.followers):
            if live.progress != progress and not live.over.is_set():  # one that waited may have been cancelled
                live.progress = progress
                live.tell(progress)


class LiveJobs:
    """All jobs of an engine that have not ended, by their ids, in the order in which they came."""

    def __init__(self) -> None:
        self._jobs: dict[str, LiveJob] = {}
        self.idle = asyncio.Event()
        """Set while there is none."""
        self.idle.set()

    def __iter__(self) -> Iterator[LiveJob]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job_id: str) -> LiveJob | None:
        return self._jobs.get(job_id)

    def add(self, live: LiveJob) -> None:
        self._jobs[live.id] = live
        self.idle.clear()

    def remove(self, live: LiveJob) -> None:
        """It has ended, or this engine does."""
        del self._jobs[live.id]
        if live.leaving is not None:
            live.leaving.cancel()
        live.over.set()
        if not self._jobs:
            self.idle.set()

    @property
    def begun(self) -> int:
        """How many have begun."""
        return sum(each.begun for each in self._jobs.values())

    def same(self, same_as: str) -> list[LiveJob]:
        """Those that ask for the same; none for an empty text."""
        return [each for each in self._jobs.values() if each.job.request.same_as == same_as != ""]

    def first_of_the_same(self, live: LiveJob) -> LiveJob | None:
        """Who goes before `live` and asks for the same: one that a service has already, or else the one that was there
        first."""
        equals = self.same(live.job.request.same_as)
        with_handle = [each for each in equals if each.job.handle is not None]
        first = next(iter(with_handle or equals), live)
        return None if first is live else first


def seed_of(settings: Settings) -> int:
    """The seed that is asked for, or one drawn."""
    return settings.seed if settings.seed is not None else secrets.randbelow(MAX_SEED + 1)
