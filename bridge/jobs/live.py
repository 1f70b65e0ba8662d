"""A job between its coming and its end, and what its end is called."""

import asyncio
import logging
from collections.abc import Hashable
from dataclasses import dataclass, field

from bridge.errors import Cancelled, UnflattenError
from bridge.jobs.events import Event, Listener, Progressed
from bridge.jobs.journal import Entry, State
from bridge.jobs.spool import out_of_space

log = logging.getLogger("unflatten")


def _no_listeners() -> list[Listener]:
    return []


@dataclass
class LiveJob:
    """A job that has not ended.

    ready: layers whose files are whole; leaving: runs out once nobody listens; bringing: until its picture is here;
    meets: one that was under way already when this one came, and was asked for the same.
    """

    entry: Entry
    client: Hashable
    listeners: list[Listener] = field(default_factory=_no_listeners)
    ready: set[int] = field(default_factory=set[int])
    progress: Progressed | None = None
    why_cancelled: UnflattenError | None = None
    interrupted: bool = False
    leaving: asyncio.TimerHandle | None = None
    bringing: asyncio.Task[None] | None = None
    meets: str | None = None

    def tell(self, event: Event) -> None:
        for listener in list(self.listeners):
            listener(self.entry.id, event)


def ending(job: LiveJob, error: Exception) -> tuple[State, UnflattenError]:
    """How a job ended that raised `error`: a worker killed for a cancel is a cancel, not a crash."""
    if job.why_cancelled is not None:
        if isinstance(error, UnflattenError) and error.code == Cancelled.code and not job.why_cancelled.hint:
            return State.CANCELLED, error  # which may say more
        return State.CANCELLED, job.why_cancelled
    if isinstance(error, UnflattenError):
        return State.FAILED, error
    if (full := out_of_space(error)) is not None:
        return State.FAILED, full
    log.error("job %s", job.entry.id, exc_info=error)
    return State.FAILED, UnflattenError("Something went wrong inside the bridge.", "Try again.")
