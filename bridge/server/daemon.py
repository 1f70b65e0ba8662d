"""The daemon's life: one instance by lock, a connection file for clients to find it, and an orderly end."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from bridge import __version__
from bridge.clock import now
from bridge.connection_file import Connection, read_connection, remove_connection, write_connection
from bridge.errors import UnflattenError
from bridge.jobs.engine import Engine
from bridge.jobs.files import JobFiles
from bridge.jobs.local import STORE_FILE
from bridge.jobs.retention import sweep
from bridge.jobs.store import Store
from bridge.jobs.supervisor import WORKER_COMMAND, Workers
from bridge.own_files import claim
from bridge.server.app import make_app
from bridge.server.fal_api import FalAPI, FalOptions
from bridge.server.listener import Listener
from bridge.server.log import describe_loop_error, start_log
from bridge.server.session import Sessions
from bridge.server.uploads import FOLDER as UPLOADS
from bridge.server.uploads import sweep_uploads

LOCK_FILE = "bridge.lock"
LAST_WORDS_FILE = "worker.log"
JOBS_FOLDER = "jobs"
SWEEP_EVERY = 3600.0
LOOK_EVERY = 60.0
LAST_FRAMES = 5.0
"""Seconds that clients get to take what was finished before the connections are closed."""
CHANGEOVER = 30.0
"""Seconds to wait for a bridge that is just ending, or for one that is just starting to write its connection file."""

log = logging.getLogger("unflatten")


@dataclass(frozen=True)
class _Times:
    """Seconds; keep_days: days."""

    idle_exit: float
    worker_idle: float
    keep_days: float
    grace: float
    drain: float


def serve(
    data: Path,
    *,
    idle_exit: float = 3600,
    worker_idle: float = 60,
    keep_days: float = 7,
    grace: float = 60,
    drain: float = 10,
    worker: Sequence[str] = WORKER_COMMAND,
    fal: FalOptions | None = None,
) -> int:
    """Run the bridge in this process until it is stopped or has been idle for `idle_exit` seconds; the exit code.

    data: data_dir(), or where the user wants it. Returns 0 at once where another bridge already serves `data`.
    worker_idle: seconds after which an idle worker process is ended. keep_days: how long results are kept.
    grace: seconds that a job whose client is gone goes on. drain: seconds that a running job gets at the end.
    worker: the worker's command line. fal: open fal's API too.
    """
    os.umask(0o077)  # the journal and its companions hold the user's words; SQLite asks nobody for their mode
    lock = FileLock(data / LOCK_FILE)
    try:
        claim(data)
        other = _take(lock, data)
        if other is not None:
            _say(f"The bridge is already running (process {other.pid}, port {other.port}).")
            return 0
        start_log(data)
        times = _Times(idle_exit, worker_idle, keep_days, grace, drain)
        return asyncio.run(_Daemon(data, times, worker, fal).run())
    except UnflattenError as error:
        _say(f"{error.message} {error.hint}")
        log.error("not started: %s", error.code)
        return 1
    except OSError as error:
        place = f"{error.filename} in its folder" if error.filename else "its folder"
        _say(f"The bridge cannot use {place} {data}: {error.strerror or error}.")
        log.error("not started", exc_info=error)
        return 1
    except Exception as error:
        _say("The bridge could not start, or had to stop: something went wrong inside it. Run “unflatten doctor”.")
        log.error("not started, or stopped", exc_info=error)
        return 1
    finally:
        lock.release()


def _take(lock: FileLock, data: Path) -> Connection | None:
    """Take the lock; or how to reach the bridge that holds it. One without a connection file is ending or starting."""
    deadline = time.monotonic() + CHANGEOVER
    while True:
        try:
            lock.acquire(timeout=0)
            return None
        except Timeout:
            connection = read_connection(data)
            if connection is not None and _answers(data, connection):
                return connection
            if time.monotonic() > deadline:
                raise UnflattenError(
                    "Another bridge holds the data folder, but does not answer.",
                    "End the process named “unflatten”, or restart the computer.",
                ) from None
            time.sleep(0.1)


def _answers(data: Path, connection: Connection) -> bool:
    """Whether the bridge that the connection file tells of lives: the file may be left over, and its number reused."""
    from bridge.client import status

    told = status(data)
    return told is not None and told.get("pid") == connection.pid


class _Daemon:
    def __init__(self, data: Path, times: _Times, worker: Sequence[str], fal: FalOptions | None) -> None:
        self._data = data
        self._times = times
        self._worker = worker
        self._fal = fal
        self._asked_to_stop = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """From the journal's opening to its closing; the exit code."""
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        times = self._times
        workers = Workers(self._data / LAST_WORDS_FILE, idle=times.worker_idle, command=self._worker)
        store, files = Store(self._data / STORE_FILE), JobFiles(self._data / JOBS_FOLDER)
        engine = Engine(store, files, workers, grace=times.grace)
        sessions = Sessions(engine)
        fal_api = FalAPI(self._data, engine, keep_days=times.keep_days, grace=times.grace)
        with _listen() as listener, self._signals():
            connection = Connection(
                port=listener.getsockname()[1],
                pid=os.getpid(),
                token=secrets.token_hex(32),
                version=__version__,
                started=now(),
            )
            app = make_app(engine, sessions, fal_api, token=connection.token, port=connection.port, stop=self._stop)
            engine.recover()
            door = Listener(listener, app)
            background = [
                asyncio.create_task(self._guarded(self._sweep(engine))),
                asyncio.create_task(self._guarded(self._watch_idle(engine, sessions, fal_api))),
            ]
            try:
                write_connection(self._data, connection)
                log.info("bridge %s started on port %d", __version__, connection.port)
                _say(f"The bridge is running (process {connection.pid}, port {connection.port}).")
                if self._fal is not None:
                    await self._open_fal_api(fal_api, self._fal)
                await self._asked_to_stop.wait()
            finally:
                remove_connection(
                    self._data, connection
                )  # from here on a client starts a new bridge, which waits for the lock
                await self._wind_up(engine, sessions)
                await fal_api.close()
                await door.close()
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await engine.close()
                log.info("bridge stopped")
        return self._code

    async def _open_fal_api(self, fal_api: FalAPI, fal: FalOptions) -> None:
        try:
            opened = await fal_api.open(fal)
        except UnflattenError as error:  # whoever asked for it has no use for a bridge without it
            _say(f"{error.message} {error.hint}")
            log.error("fal's API could not be opened: %s", error.code)
            self._code = 1
            self._stop()
        else:
            _say(f"fal's API is open at {opened['url']}: see “unflatten fal-env”.")

    async def _wind_up(self, engine: Engine, sessions: Sessions) -> None:
        await engine.drain(self._times.drain)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sessions.flushed(), LAST_FRAMES)

    async def _guarded(self, work: Any) -> None:
        """A bridge whose inner life has stopped must not go on as if it served."""
        try:
            await work
        except Exception:
            log.exception("the bridge stops")
            self._code = 1
            self._stop()

    async def _sweep(self, engine: Engine) -> None:
        """Now and then, and soon after a job has ended: a night's batch must not fill the disk by the hour."""
        while True:
            ended = engine.endings.count
            try:
                engine.endings.write_down_again()
                await sweep(engine.store, engine.files, days=self._times.keep_days)
                await asyncio.to_thread(sweep_uploads, self._data / UPLOADS)
            except (UnflattenError, OSError) as error:
                log.warning("results could not be swept: %s", getattr(error, "code", None) or type(error).__name__)
            swept = time.monotonic()
            while time.monotonic() - swept < SWEEP_EVERY and engine.endings.count == ended:
                await asyncio.sleep(LOOK_EVERY)

    async def _watch_idle(self, engine: Engine, sessions: Sessions, fal_api: FalAPI) -> None:
        busy = time.monotonic()
        while time.monotonic() - busy < self._times.idle_exit:
            await asyncio.sleep(min(self._times.idle_exit / 4, 30))
            if fal_api.was_used() or engine.busy or len(sessions):
                busy = time.monotonic()
        log.info("idle for %.0f s", self._times.idle_exit)
        self._stop()

    def _stop(self) -> None:
        self._asked_to_stop.set()

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()

        def stop(number: int, _: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._stop)

        names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")  # the last is Windows'
        before = {name: signal.signal(getattr(signal, name), stop) for name in names if hasattr(signal, name)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)


def _listen() -> socket.socket:
    """A listening socket on this computer's own address alone, on a port that the system picks."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    message, error = describe_loop_error(context)
    log.error(message, exc_info=error)


def _say(sentence: str) -> None:
    # Krita's terminal may be gone, and under pythonw there is none
    with contextlib.suppress(OSError, AttributeError):
        print(sentence, file=sys.stdout, flush=True)
