"""The daemon's life: one instance by lock, a connection file for clients to find it, and an orderly end.

What greets clients is loaded first. The engine and what it is made of takes as long again; whoever was greeted waits
for it with the first request.
"""

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
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from bridge import __version__
from bridge.clock import now
from bridge.connection_file import Connection, read_connection, remove_connection, write_connection
from bridge.errors import UnflattenError
from bridge.own_files import claim
from bridge.server.auth import with_token
from bridge.server.fal_api import FalAPI, FalOptions
from bridge.server.front import Front
from bridge.server.listener import Listener
from bridge.server.log import describe_loop_error, start_log
from bridge.server.sessions import Sessions

if TYPE_CHECKING:  # loaded when clients are greeted already
    from bridge.jobs.engine import Engine
    from bridge.server.service import Service

LOCK_FILE = "bridge.lock"
LAST_FRAMES = 5.0
"""Seconds that clients get to take what was finished before the connections are closed."""
FIRST_CLIENT = 0.2
"""Seconds that the first client gets to come and be greeted before the rest is loaded, which would slow that down."""
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
    worker: Sequence[str] | None = None,
    fal: FalOptions | None = None,
) -> int:
    """Run the bridge in this process until it is stopped or has been idle for `idle_exit` seconds; the exit code.

    data: data_dir(), or where the user wants it. Returns 0 at once where another bridge already serves `data`.
    worker_idle: seconds after which an idle worker process is ended. keep_days: how long results are kept.
    grace: seconds that a job whose client is gone goes on. drain: seconds that a running job gets at the end.
    worker: the worker's command line, where not the usual one. fal: open fal's API too.
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
    except Exception as error:
        told = _told(error, data)
        _say(f"{told.message} {told.hint}".strip())
        if isinstance(error, UnflattenError):
            log.error("not started: %s", error.code)
        else:
            log.error("not started, or stopped", exc_info=error)
        return 1
    finally:
        lock.release()


def _told(error: Exception, data: Path) -> UnflattenError:
    """What keeps the bridge from its work, in a sentence."""
    match error:
        case UnflattenError():
            return error
        case OSError():
            place = f"{error.filename} in its folder" if error.filename else "its folder"
            return UnflattenError(f"The bridge cannot use {place} {data}: {error.strerror or error}.")
        case _:
            return UnflattenError(
                "The bridge could not start, or had to stop: something went wrong inside it.", "Run “unflatten doctor”."
            )


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
    def __init__(self, data: Path, times: _Times, worker: Sequence[str] | None, fal: FalOptions | None) -> None:
        self._data = data
        self._times = times
        self._worker = worker
        self._fal = fal
        self._asked_to_stop = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """From the first client's greeting to the journal's closing; the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_loop_error)
        loaded: asyncio.Future[Service] = loop.create_future()
        sessions = Sessions(loaded)
        with _listen() as listener, self._signals():
            connection = Connection(
                port=listener.getsockname()[1],
                pid=os.getpid(),
                token=secrets.token_hex(32),
                version=__version__,
                started=now(),
            )
            front = Front(sessions, loaded)
            door = Listener(listener, with_token(front, token=connection.token, port=connection.port))
            service, background = None, list[asyncio.Task[None]]()
            try:
                write_connection(self._data, connection)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(front.asked.wait(), 0 if self._fal else FIRST_CLIENT)
                service = await self._load(sessions)
                loaded.set_result(service)
                log.info("bridge %s started on port %d", __version__, connection.port)
                _say(f"The bridge is running (process {connection.pid}, port {connection.port}).")
                background = [
                    asyncio.create_task(self._guarded(service.sweep())),
                    asyncio.create_task(self._guarded(self._watch_idle(service, sessions))),
                ]
                if self._fal is not None:
                    await self._open_fal_api(service.fal_api, self._fal)
                await self._asked_to_stop.wait()
            except Exception as error:
                if service is None:
                    loaded.set_exception(_told(error, self._data))
                    await sessions.gone(LAST_FRAMES)
                raise
            finally:
                # from here on a client starts a new bridge, which waits for the lock
                remove_connection(self._data, connection)
                if service is not None:
                    await self._wind_up(service.engine, sessions)
                    await service.fal_api.close()
                await door.close()
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                if service is not None:
                    await service.engine.close()
                log.info("bridge stopped")
        return self._code

    async def _load(self, sessions: Sessions) -> "Service":
        """What answers all but a greeting, with the jobs of before a crash taken up again."""
        # in a thread, so that others are greeted meanwhile
        module = await asyncio.to_thread(import_module, f"{__package__}.service")
        times = self._times
        service: Service = module.Service(
            self._data,
            sessions,
            worker_idle=times.worker_idle,
            keep_days=times.keep_days,
            grace=times.grace,
            worker=self._worker,
            stop=self._stop,
        )
        service.engine.recover()
        return service

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

    async def _wind_up(self, engine: "Engine", sessions: Sessions) -> None:
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

    async def _watch_idle(self, service: "Service", sessions: Sessions) -> None:
        busy = time.monotonic()
        while time.monotonic() - busy < self._times.idle_exit:
            await asyncio.sleep(min(self._times.idle_exit / 4, 30))
            if service.was_used() or len(sessions):
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
