"""The engine and all that is asked of it. The daemon loads this once it greets clients: it takes as long as the rest.

Here is what the daemon's start does without: pydantic, SQLite, the lanes and the routes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.websockets import WebSocket

from bridge.errors import UnflattenError
from bridge.jobs.engine import Engine
from bridge.jobs.files import JobFiles
from bridge.jobs.local import STORE_FILE
from bridge.jobs.retention import sweep
from bridge.jobs.store import Store
from bridge.jobs.supervisor import WORKER_COMMAND, Workers
from bridge.server.app import make_app
from bridge.server.fal_api import FalAPI
from bridge.server.frames import Message
from bridge.server.session import Session
from bridge.server.sessions import Sessions
from bridge.server.uploads import FOLDER as UPLOADS
from bridge.server.uploads import sweep_uploads

LAST_WORDS_FILE = "worker.log"
JOBS_FOLDER = "jobs"
SWEEP_EVERY = 3600.0
LOOK_EVERY = 60.0

log = logging.getLogger("unflatten")


class Service:
    """What serves the clients of the bridge whose files are in `data`.

    worker_idle: seconds after which an idle worker process is ended. keep_days: how long results are kept. grace:
    seconds that a job whose client is gone goes on. worker: its command line, where not the usual one. stop: begins the
    bridge's orderly end.
    """

    def __init__(
        self,
        data: Path,
        sessions: Sessions,
        *,
        worker_idle: float,
        keep_days: float,
        grace: float,
        worker: Sequence[str] | None,
        stop: Callable[[], None],
    ) -> None:
        workers = Workers(data / LAST_WORDS_FILE, idle=worker_idle, command=worker or WORKER_COMMAND)
        store, files = Store(data / STORE_FILE), JobFiles(data / JOBS_FOLDER)
        self.engine = Engine(store, files, workers, grace=grace)
        self.fal_api = FalAPI(data, self.engine, keep_days=keep_days, grace=grace)
        self.app = make_app(self.engine, sessions, self.fal_api, stop=stop)
        self._data = data
        self._keep_days = keep_days

    def begin_session(self, socket: WebSocket, number: int, hello: Message) -> Session:
        """The session of a client that has been greeted, after its own first words."""
        return Session(socket, self.engine, number, previews=hello.get("previews") is True)

    def was_used(self) -> bool:
        """Whether there is work, or was since this was last asked."""
        return self.fal_api.was_used() or self.engine.busy

    async def sweep(self) -> None:
        """Now and then, and soon after a job has ended: a night's batch must not fill the disk by the hour."""
        engine = self.engine
        while True:
            ended = engine.endings.count
            try:
                engine.endings.write_down_again()
                await sweep(engine.store, engine.files, days=self._keep_days)
                await asyncio.to_thread(sweep_uploads, self._data / UPLOADS)
            except (UnflattenError, OSError) as error:
                log.warning("results could not be swept: %s", getattr(error, "code", None) or type(error).__name__)
            swept = time.monotonic()
            while time.monotonic() - swept < SWEEP_EVERY and engine.endings.count == ended:
                await asyncio.sleep(LOOK_EVERY)
