"""The server of fal's API: its key, its certificate, its port, and an orderly end."""

import asyncio
import logging
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute

from bridge.backends.choice import choose
from bridge.errors import UnflattenError
from bridge.jobs.engine import Engine
from bridge.jobs.files import JobFiles
from bridge.jobs.local import STORE_FILE
from bridge.jobs.retention import DAY, sweep
from bridge.server.auth import local_hosts
from bridge.server.fal.app import make_fal_app, mount
from bridge.server.fal.certificates import Certificates
from bridge.server.fal.files import Files, Stored, find_result
from bridge.server.fal.hosts import JS_PROXY
from bridge.server.fal.keys import Key, Keys, find_key
from bridge.server.fal.listener import Listener
from bridge.server.fal.pictures import Pictures
from bridge.server.fal.platform import Platform
from bridge.server.fal.queue import Queue
from bridge.server.fal.records import Records
from bridge.server.fal.requests import Requests
from bridge.server.fal.run import Run
from bridge.server.fal.storage import Storage
from bridge.server.fal_api import FalOptions
from bridge.server.uploads import FOLDER as UPLOADS

FOLDER = "fal-api"
"""The certificates' folder in the data folder."""
LOOK_EVERY = 30.0
"""Seconds between two looks for what has expired."""
RENEW_EVERY = 86_400.0
"""Seconds between two looks at the certificates."""
LEAST_LIFE = 3600.0
"""Seconds that uploads are kept where results are kept for less."""

log = logging.getLogger("unflatten")


@dataclass(frozen=True)
class Host:
    """The bridge that the API belongs to. data: its folder; keep_days: of results; grace: seconds that a request whose
    client is gone goes on for."""

    data: Path
    engine: Engine
    keep_days: float
    grace: float


class FalServer:
    """The API, open."""

    def __init__(self, host: Host, options: FalOptions, listener: socket.socket, key: Key) -> None:
        self.port: int = listener.getsockname()[1]
        self.key = key
        self.backend = options.backend
        self._host = host
        self._certificates = Certificates(host.data / FOLDER)
        self._certificates.renew()
        self._context = self._certificates.context()
        engine = host.engine
        self._records = Records(host.data / STORE_FILE)

        def find(name: str) -> Stored | None:
            return find_result(engine, self._records, name)

        self._files = Files(host.data / UPLOADS, find, life=max(host.keep_days * DAY, LEAST_LIFE))
        pictures = Pictures(engine.files, engine.workers, self._files, local_hosts(self.port))
        self._requests = Requests(engine, self._records, self._files, pictures, options, grace=host.grace)
        keys = Keys(key.value)
        routes = _routes(self._requests, engine.files, self._files, keys)
        app = make_fal_app(routes, keys, port=self.port)
        self._listener = Listener(listener, app, self._context)
        self._requests.resume()
        self._housekeeping = asyncio.create_task(self._keep_house())

    def described(self) -> dict[str, Any]:
        """What the command line needs to know."""
        return {
            "open": True,
            "port": self.port,
            "url": f"http://127.0.0.1:{self.port}",
            "js_proxy": f"http://127.0.0.1:{self.port}{JS_PROXY}",
            "backend": self.backend,
            "key_from": self.key.source,
            "authority": str(self._certificates.authority.absolute()),
            "bundle": str(self._certificates.bundle.absolute()),
        }

    @property
    def busy(self) -> bool:
        """Whether someone is connected, or waits for something."""
        return self._listener.connections > 0 or self._requests.busy

    async def close(self) -> None:
        self._housekeeping.cancel()
        await self._listener.close()
        self._requests.close()
        await asyncio.gather(self._housekeeping, return_exceptions=True)
        self._records.close()

    async def _keep_house(self) -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await sweep(self._host.engine.store, self._host.engine.files, days=self._host.keep_days)
                self._requests.keep_house()
                await self._files.sweep()
                if time.monotonic() - renewed > RENEW_EVERY:
                    renewed = time.monotonic()
                    if await asyncio.to_thread(self._certificates.renew):
                        self._certificates.load_into(self._context)
            except (OSError, UnflattenError):
                log.exception("fal's API could not keep house")


def _routes(requests: Requests, jobs: JobFiles, files: Files, keys: Keys) -> list[BaseRoute]:
    """All of fal's hosts, each under its path; fal.run's at the root, too."""
    run, storage = Run(requests, jobs), Storage(files, keys)
    return [
        *run.routes(),
        mount("fal.run", run.routes()),
        mount("queue.fal.run", Queue(requests, jobs).routes()),
        mount("rest.fal.ai", storage.rest_routes()),
        mount("v3.fal.media", storage.media_routes()),
        mount("api.fal.ai", Platform(requests).routes()),
    ]


async def start_fal_server(host: Host, options: FalOptions) -> FalServer:
    """Open the API on this computer's own address alone. Raises UnflattenError where it can't be."""
    if options.backend is not None or options.options:
        choose(options.backend, options.options).check()
    key = await find_key()
    listener = _listen(options.port)
    try:
        server = FalServer(host, options, listener, key)
    except OSError as error:
        listener.close()
        raise UnflattenError(
            f"fal's API cannot be opened: {error.strerror}.", "See “unflatten doctor”.", code="fal_api"
        ) from None
    log.info("fal's API is open on port %d, its key from: %s", server.port, key.source)
    return server


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
            f"fal's API cannot be opened on port {port}: {error.strerror}.",
            "Choose another port, or leave --fal-port out.",
            code="port",
        ) from None
    return listener
