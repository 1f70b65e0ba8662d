"""Opens the fal door when it is asked for, and not before: nothing of it is loaded until then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import UnflattenError
from bridge.jobs.engine import Engine

if TYPE_CHECKING:
    from bridge.server.fal_door.door import FalDoor

MOST_PORT = 65_535


class Doorkeeper:
    """The fal door of one bridge, open or closed. keep_days: of results; grace: seconds a job waits for its client."""

    def __init__(self, data: Path, engine: Engine, *, keep_days: float, grace: float) -> None:
        self._data = data
        self._engine = engine

        self._keep_days = keep_days
        self._grace = grace
        self._opening = asyncio.Lock()
        self._door: FalDoor | None = None
        self._asked = False

    async def open(self, *, port: int = 0, backend: str | None = None) -> dict[str, Any]:
        """Open the door, where it is closed; what is told of it. Raises UnflattenError.

        port: 0 for any. An open door stays as it is; it is an error to ask for another port or backend then.
        """
        from bridge.server.fal_door.door import House, open_fal_door

        self._asked = True
        async with self._opening:
            if self._door is None:
                house = House(self._data, self._engine, self._keep_days, self._grace)
                self._door = await open_fal_door(house, port=port, backend=backend)
            elif port not in (0, self._door.port) or (backend is not None and backend != self._door.backend):
                raise UnflattenError(
                    f"The door for fal's clients is open already, on port {self._door.port}"
                    f" with {_named(self._door.backend)}.",
                    "Run “unflatten stop” first.",
                    code="door_open",
                )
            return self.told()

    def told(self) -> dict[str, Any]:
        """Whether the door is open and where, without its key."""
        return {"open": False} if self._door is None else self._door.told()

    @property
    def key(self) -> str | None:
        return None if self._door is None else self._door.key

    def was_used(self) -> bool:
        """Whether the door is in use, or was asked for since the last time that this was asked."""
        asked, self._asked = self._asked, False
        return asked or (self._door is not None and self._door.busy)

    async def close(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            await door.close()


def _named(backend: str | None) -> str:
    return "the default splitter" if backend is None else f"the splitter “{backend}”"
