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

from bridge.errors import UnflattenError, WorkerDied
from bridge.files.disk import private

Message = dict[str, Any]

# On Windows the child of a process without a console gets a window of its own
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
LONGEST_LINE = 4 * 2**20
"""Bytes of one message."""
LAST_WORDS = 256 * 1024
"""Bytes of the log of workers' last words, before it is begun anew."""
END_PATIENCE = 2.0
"""Seconds that an idle worker gets to end in order."""

log = logging.getLogger("unflatten")


class WorkerProcess:
    """One worker process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._reading = asyncio.ensure_future(self._read())
        self.ended = False
        self.pid = process.pid

    @staticmethod
    async def start(command: Sequence[str], last_words: Path | None) -> "WorkerProcess":
        if last_words is not None and last_words.exists() and last_words.stat().st_size > LAST_WORDS:
            last_words.unlink()
        with open(last_words or os.devnull, "ab", opener=private) as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env=_environment(),
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
            raise _death(await self._process.wait())
        return event

    async def ask(self, number: int, message: Message) -> Message:
        if self.ended:
            raise _death(await self._process.wait())
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
        code = await self._process.wait()
        self._events.put_nowait(None)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(_death(code))

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


def _environment() -> dict[str, str]:
    """Ours, with as many threads as cores that this process may use (a container's limit is not the machine's)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), str(cores))
    return {**os.environ, **threads}


def _death(code: int) -> WorkerDied:
    log.error("a worker ended with code %d", code)
    if code == -9:  # nobody else kills it so: the kernel, when memory runs out
        return WorkerDied(
            "The splitter was stopped in the middle, most likely because the computer ran out of memory.",
            "Close other programs, or scale the picture down, then try again.",
        )
    return WorkerDied(
        f"The splitter stopped unexpectedly (code {code}).",
        "Try again. If it happens again, run “unflatten doctor” and report what it shows.",
    )
