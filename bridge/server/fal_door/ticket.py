"""A request that has not ended: what it has told so far, and whoever waits for more."""

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from bridge.jobs.events import Progressed
from bridge.jobs.journal import Entry, State

MOST_LINES = 500
LogLine = dict[str, str]


class Ticket:
    """One request's life between the post and its end. Its entry is the runner's own, and holds what must survive."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.logs: list[LogLine] = []
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
    def extra(self) -> dict[str, Any]:
        assert self.entry.extra is not None
        return self.entry.extra

    @property
    def begun(self) -> bool:
        return self.entry.state is not State.QUEUED

    async def beginning(self) -> None:
        """Return once the job runs, or is over."""
        while not self.begun and not self.over.is_set():
            await self._changed.wait()  # no step is told between these two lines

    def hear(self, told: Progressed) -> None:
        """Note a step, as a line of the log."""
        if self.begun:
            self.extra.setdefault("started", time.time())
        counted = f" ({told.step} of {told.steps})" if told.steps > 1 else ""
        self.say(told.stage + counted)

    def say(self, message: str) -> None:
        if self.logs and self.logs[-1]["message"] == message:
            return
        if len(self.logs) < MOST_LINES:
            self.logs.append({"message": message, "level": "INFO", "source": "USER", "timestamp": iso(time.time())})
        self.touch()

    def touch(self) -> None:
        """Wake whoever waits for a change."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, seen: int, seconds: float) -> bool:
        """Return once there is another version than `seen`, or after so long; whether there is one."""
        if self.version == seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        return self.version != seen

    def end(self) -> None:
        self.over.set()
        self.stop_clocks()
        self.touch()

    def stop_clocks(self) -> None:
        for clock in (self.patience, self.leaving):
            if clock is not None:
                clock.cancel()
        self.patience = self.leaving = None

    @asynccontextmanager
    async def attended(self) -> AsyncGenerator[None]:
        """Someone holds a connection for it."""
        self.waiting += 1
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None
        try:
            yield
        finally:
            self.waiting -= 1


def iso(seconds: float) -> str:
    """A moment, in seconds since the epoch, as fal writes it."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
