"""The fal door's life: its key, its certificate, its port, and an orderly end."""

import asyncio
import logging
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from bridge.errors import BackendUnavailable, UnflattenError
from bridge.jobs.journal import Journal
from bridge.jobs.keeping import DAY
from bridge.jobs.runner import Runner
from bridge.server.fal_door.app import make_fal_app
from bridge.server.fal_door.certificates import Certificates
from bridge.server.fal_door.desk import Desk
from bridge.server.fal_door.entrance import JS_PROXY, Entrance
from bridge.server.fal_door.files import UPLOADS, Files
from bridge.server.fal_door.intake import Intake
from bridge.server.fal_door.keys import Keys, find_key
from bridge.server.fal_door.listener import Listener

FOLDER = "fal-door"
LOOK_EVERY = 30.0
RENEW_EVERY = 86_400.0

log = logging.getLogger("unflatten")


@dataclass(frozen=True)
class House:
    """What the door needs of the bridge that it belongs to. keep_days: of results; grace: seconds."""

    data: Path
    runner: Runner
    journal: Journal
    keep_days: float
    grace: float


class FalDoor:
    """The open door."""

    def __init__(self, house: House, listener: socket.socket, key: str, source: str, backend: str | None) -> None:
        self.port: int = listener.getsockname()[1]
        self.key = key
        self.backend = backend
        self._source = source
        self._certificates = Certificates(house.data / FOLDER)
        self._certificates.renew()
        self._context = self._certificates.context()
        self._files = Files(house.data / UPLOADS, life=max(house.keep_days * DAY, 3600.0))
        local = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        intake = Intake(house.runner.spool, house.runner.workshop, self._files, local)
        self._desk = Desk(house.runner, house.journal, self._files, intake, backend=backend, grace=house.grace)
        keys = Keys(key)
        app = make_fal_app(self._desk, house.runner.spool, self._files, keys)

        def enter(secure: bool, tunnel: str | None) -> ASGIApp:
            return Entrance(app, keys, port=self.port, secure=secure, tunnel=tunnel)

        self._listener = Listener(listener, enter, self._context)
        self._desk.resume()
        self._housekeeping = asyncio.create_task(self._keep_house())

    def told(self) -> dict[str, Any]:
        """What the command line needs to know."""
        return {
            "open": True,
            "port": self.port,
            "url": f"http://127.0.0.1:{self.port}",
            "js_proxy": f"http://127.0.0.1:{self.port}{JS_PROXY}",
            "backend": self.backend,
            "key_from": self._source,
            "authority": str(self._certificates.authority.absolute()),
            "bundle": str(self._certificates.bundle.absolute()),
        }

    @property
    def busy(self) -> bool:
        """Whether someone is connected, or waits for something."""
        return self._listener.connections > 0 or self._desk.busy

    async def close(self) -> None:
        self._housekeeping.cancel()
        await self._listener.close()
        await self._desk.close()
        await asyncio.gather(self._housekeeping, return_exceptions=True)

    async def _keep_house(self) -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                self._desk.erase_expired()
                await self._files.sweep()
                if time.monotonic() - renewed > RENEW_EVERY:
                    renewed = time.monotonic()
                    if await asyncio.to_thread(self._certificates.renew):
                        self._certificates.load_into(self._context)
            except (OSError, UnflattenError):
                log.exception("the fal door could not keep house")


async def open_fal_door(house: House, *, port: int, backend: str | None) -> FalDoor:
    """Open the door on `port` of this computer's own address (0: any). Raises UnflattenError where it can't be."""
    if backend is not None:
        await _check_backend(house.runner, backend)
    key = await find_key()
    listener = _listen(port)
    try:
        door = FalDoor(house, listener, key.value, key.source, backend)
    except OSError as error:
        listener.close()
        raise UnflattenError(
            f"The door for fal's clients cannot be opened: {error.strerror}.", "See “unflatten doctor”.", code="door"
        ) from None
    log.info("the fal door is open on port %d, its key from: %s", door.port, key.source)
    return door


async def _check_backend(runner: Runner, backend: str) -> None:
    offers = {each["name"]: each for each in await runner.backends()}
    if backend not in offers:
        raise BackendUnavailable(f"There is no backend named “{backend}”.", f"Choose one of: {', '.join(offers)}.")
    if offers[backend]["unavailable"]:
        raise BackendUnavailable(offers[backend]["unavailable"], offers[backend]["remedy"])


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":  # without it another program may take the port over
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # without it the port of a bridge that was killed stays closed for a minute
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UnflattenError(
            f"The door for fal's clients cannot be opened on port {port}: {error.strerror}.",
            "Choose another port, or leave --fal-port out.",
            code="port",
        ) from None
    return listener
