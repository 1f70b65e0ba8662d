"""fal's API, open or closed: nothing of it is loaded until it is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import UnflattenError

if TYPE_CHECKING:
    from bridge.jobs.engine import Engine
    from bridge.server.fal.server import FalServer

MOST_PORT = 65_535


@dataclass(frozen=True)
class FalOptions:
    """How fal's API is to be opened. port: 0 for any; backend: who splits, None for the default, with these of its own
    options."""

    port: int = 0
    backend: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


class FalAPI:
    """fal's API at one bridge. keep_days: of results; grace: seconds that a request waits for its client."""

    def __init__(self, data: Path, engine: Engine, *, keep_days: float, grace: float) -> None:
        self._data = data
        self._engine = engine
        self._keep_days = keep_days
        self._grace = grace
        self._opening = asyncio.Lock()
        self._server: FalServer | None = None
        self._options = FalOptions()
        self._asked = False

    async def open(self, options: FalOptions) -> dict[str, Any]:
        """Open the API, where it is closed; its description. Raises UnflattenError.

        An open one stays as it is; it is an error to ask for another port, backend or option then.
        """
        from bridge.server.fal.server import Host, start_fal_server

        self._asked = True
        async with self._opening:
            if self._server is None:
                host = Host(self._data, self._engine, self._keep_days, self._grace)
                self._server, self._options = await start_fal_server(host, options), options
            else:
                port, backend = self._server.port, self._server.backend
                others = options.options not in ({}, self._options.options)
                if options.port not in (0, port) or options.backend not in (None, backend) or others:
                    raise UnflattenError(
                        f"fal's API is open already, on port {port} with {_named(backend)}.",
                        "Run “unflatten stop” first.",
                        code="already_open",
                    )
            return self.described()

    def described(self) -> dict[str, Any]:
        """Whether the API is open and where, without its key."""
        return {"open": False} if self._server is None else self._server.described()

    @property
    def key(self) -> str | None:
        return None if self._server is None else self._server.key.value

    def was_used(self) -> bool:
        """Whether the API is in use, or was asked for since the last time that this was asked."""
        asked, self._asked = self._asked, False
        return asked or (self._server is not None and self._server.busy)

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()


def _named(backend: str | None) -> str:
    return "the default splitter" if backend is None else f"the splitter “{backend}”"
