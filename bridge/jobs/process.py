"""One worker process and its two pipes, as the engine holds them."""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.errors import UnflattenError, WorkerDied, WorkerKilled
from bridge.jobs.environment import environment
from bridge.own_files import open_log
from bridge.processes import is_stopped

Message = dict[str, Any]

# On Windows the child of a process without a console gets a window of its own
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
LONGEST_LINE = 4 * 2**20
"""Bytes of one message."""
LAST_WORDS = 256 * 1024
"""Bytes of the log of workers' last words, before it is begun anew."""
END_PATIENCE = 2.0
"""Seconds that an idle worker gets to end in order."""
LOOK_EVERY = 3.0
"""Seconds between two looks at whether another program has stopped it."""

log = logging.getLogger("unflatten")


class WorkerProcess:
    """One worker process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._reading = asyncio.ensure_future(self._read())
        self._watching = asyncio.ensure_future(self._watch())
        self._was_stopped = False
        self.ended = False
        self.pid = process.pid

    @staticmethod
    async def start(command: Sequence[str], last_words: Path | None) -> "WorkerProcess":
        with os.fdopen(_open_last_words(last_words), "ab") as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env=environment(),
                limit=LONGEST_LINE,
                creationflags=NO_WINDOW,
            )
        log.info("worker %d started", process.pid)
        return WorkerProcess(process)

    @property
    def asked(self) -> bool:
        """Whether a question waits for its answer."""
        return bool(self._answers)

    def send(self, message: Message) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, RuntimeError):  # a dead worker is noticed where its events are read
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def next_event(self) -> Message:
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)  # whoever asks next hears it too
            raise self._death(await self._process.wait())
        return event

    async def ask(self, number: int, message: Message) -> Message:
        if self.ended:
            raise self._death(await self._process.wait())
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self.send(message)
            return await answer
        finally:
            del self._answers[number]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Close its pipe, which it obeys; kill it where it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._reading), END_PATIENCE)
        except TimeoutError:
            self.kill()
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._heard(json.loads(line))
        except ValueError:  # no line of ours: a library that wrote to the pipe, or one that never ends
            self.kill()
        self.ended = True
        self._watching.cancel()
        code = await self._process.wait()
        self._events.put_nowait(None)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._death(code))

    async def _watch(self) -> None:
        """End the process where another program has stopped it (SIGSTOP): it would answer to nothing, for ever.

        One that computes for long is let be, however long. Looked at twice: Ctrl+Z and `fg` stop and go on with all of
        a terminal's processes, one after the other.
        """
        stopped = False
        while True:
            await asyncio.sleep(LOOK_EVERY)
            before, stopped = stopped, is_stopped(self.pid)
            if before and stopped:
                log.error("worker %d was stopped by another program, and is ended", self.pid)
                self._was_stopped = True
                self.kill()
                return

    def _death(self, code: int) -> WorkerDied:
        if self._was_stopped:
            return WorkerDied("The splitter was stopped in the middle by another program.", "Try again.")
        return _death(code)

    def _heard(self, event: Message) -> None:
        if event.get("where"):
            log.error("worker %d: %s", self.pid, event["where"])
        if "id" not in event:
            self._events.put_nowait(event)
            return
        answer = self._answers.get(event["id"])
        if answer is not None and not answer.done():
            if event["event"] == "error":
                answer.set_exception(UnflattenError.from_dict(event))
            else:
                answer.set_result(event)


def _open_last_words(path: Path | None) -> int:
    """A descriptor to write them to; nowhere, where they cannot be kept."""
    if path is not None:
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > LAST_WORDS:
                path.unlink()
            return open_log(str(path))
    return os.open(os.devnull, os.O_WRONLY)


def _death(code: int) -> WorkerDied:
    log.error("a worker ended with code %d", code)
    if code == -9:
        return WorkerKilled(
            "The splitter was ended in the middle, by the system or by another program.",
            "Try again. If the computer is short of memory, close other programs, or scale the picture down.",
        )
    return WorkerDied(
        f"The splitter stopped unexpectedly (code {code}).",
        "Try again. If it happens again, run “unflatten doctor” and report what it shows.",
    )
