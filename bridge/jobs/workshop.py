"""The worker process as the bridge sees it: started when there is work, watched, and ended when it has been idle."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from bridge.errors import Cancelled, UnflattenError, WorkerDied
from bridge.jobs.memory import give_back_memory

Message = dict[str, Any]

# -P and a path at the end: a worker started from some folder of pictures must not import what lies there.
WORKER_COMMAND = (
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.path.append(sys.argv[1]); from bridge.jobs.worker import main; main(int(sys.argv[2]))",
    str(Path(__file__).parents[2]),
)
# On Windows the child of a process without a console gets a window of its own
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
LONGEST_LINE = 4 * 2**20
LAST_WORDS = 256 * 1024
CANCEL_PATIENCE = 3.0
ANSWER_PATIENCE = 60.0

log = logging.getLogger("unflatten")


class Workshop:
    """At most one worker process. `command` is started with this process's id as its last argument."""

    def __init__(self, last_words: Path, *, idle: float, command: Sequence[str] = WORKER_COMMAND) -> None:
        self._last_words = last_words
        self._idle = idle
        self._command = command
        self._worker: _Process | None = None
        self._starting = asyncio.Lock()
        self._job: str | None = None
        self._stopping = False
        self._questions = itertools.count()
        self._rest: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def state(self) -> str:
        """none, idle or working."""
        if self._worker is None:
            return "none"
        return "idle" if self._job is None else "working"

    @property
    def pid(self) -> int | None:
        return self._worker and self._worker.pid

    async def prepare(self, backend: str | None) -> None:
        """Have a worker ready for a job that is about to come. Never raises: an error shows when the job runs."""
        with contextlib.suppress(UnflattenError, OSError):
            worker = await self._ready()
            worker.send({"do": "prepare", "backend": backend})

    async def run(self, job: str, order: Message) -> AsyncGenerator[Message]:
        """Run a job, and yield the worker's events up to `done`. Raises what the worker reports, and WorkerDied."""
        self._job = job
        self._stopping = False
        ended = False
        try:
            async for event in self._run(job, order):
                ended = event["event"] == "done"
                yield event
        except UnflattenError:
            ended = True
            raise
        finally:
            if not ended and self._worker is not None:  # whoever listened gave up: the worker need not go on
                self._worker.send({"do": "cancel", "job": job})
            self._job = None
            self._rest_later()

    async def _run(self, job: str, order: Message) -> AsyncGenerator[Message]:
        worker = await self._take(job, order)
        while (event := await worker.next_event())["event"] != "done":
            if event.get("job") == job:
                if event["event"] == "error":
                    raise _error(event)
                yield event
        yield event

    async def _take(self, job: str, order: Message) -> "_Process":
        """The worker, once it has taken the job. One that died before did not die of this job: another is tried."""
        for last_try in (False, True):
            worker = await self._ready()
            if self._stopping:
                raise Cancelled()
            worker.send({"do": "run", "job": job, **order})
            try:
                while (event := await worker.next_event())["event"] != "taken" or event["job"] != job:
                    pass
                return worker
            except WorkerDied:
                if last_try or self._stopping:
                    raise
        raise AssertionError

    def go(self, job: str) -> None:
        """The job's handle is written down: it may wait on its remote service now."""
        if self._worker is not None:
            self._worker.send({"do": "go", "job": job})

    def cancel(self, job: str) -> None:
        """Ask the running job to stop. A worker that does not heed is ended, and the next job gets a new one."""
        if self._job != job:
            return
        self._stopping = True
        if self._worker is None:
            return
        self._worker.send({"do": "cancel", "job": job})
        asyncio.get_running_loop().call_later(CANCEL_PATIENCE, self._insist, job, self._worker)

    def _insist(self, job: str, worker: "_Process") -> None:
        if self._job == job and worker is self._worker:
            worker.kill()

    def kill(self) -> None:
        """End the worker at once, whatever it does; its job is not tried with another."""
        self._stopping = True
        if self._worker is not None:
            self._worker.kill()

    async def ask(self, question: str, *, patience: float = ANSWER_PATIENCE, **fields: object) -> Message:
        """The worker's answer to a question, beside a running job. patience: seconds. Raises what it reports."""
        worker = await self._ready()
        number = next(self._questions)
        try:
            return await asyncio.wait_for(worker.ask(number, {"do": question, "id": number, **fields}), patience)
        except TimeoutError:
            raise UnflattenError("The bridge's worker did not answer in time.", "Try again.", retryable=True) from None
        finally:
            self._rest_later()

    async def close(self) -> None:
        """End the worker, kindly first."""
        self._stay()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end()
        if self._ending is not None:
            await self._ending

    async def _ready(self) -> "_Process":
        self._stay()
        async with self._starting:
            if self._worker is None or self._worker.ended:
                self._worker = await _Process.start(self._command, self._last_words)
            self._rest_later()
            return self._worker

    def _stay(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _rest_later(self) -> None:
        self._stay()
        if self._worker is not None:
            self._rest = asyncio.get_running_loop().call_later(self._idle, self._rest_now)

    def _rest_now(self) -> None:
        if self._worker is not None and self._worker.asked:
            self._rest_later()
        elif self._job is None and self._worker is not None:
            worker, self._worker = self._worker, None
            self._ending = asyncio.ensure_future(self._let_go(worker))

    async def _let_go(self, worker: "_Process") -> None:
        await worker.end()
        give_back_memory()
        log.info("worker %d rests", worker.pid)


class _Process:
    """One worker process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._reading = asyncio.ensure_future(self._read())
        self.ended = False
        self.pid = process.pid

    @staticmethod
    async def start(command: Sequence[str], last_words: Path) -> "_Process":
        if last_words.exists() and last_words.stat().st_size > LAST_WORDS:
            last_words.unlink()
        with open(last_words, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
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
        return _Process(process)

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
            await asyncio.wait_for(asyncio.shield(self._reading), 2)
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
                answer.set_exception(_error(event))
            else:
                answer.set_result(event)


def _environment() -> dict[str, str]:
    """Ours, with as many threads as cores that this process may use (a container's limit is not the machine's)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), str(cores))
    return {**os.environ, **threads}


def _error(event: Message) -> UnflattenError:
    return UnflattenError(event["message"], event["hint"], code=event["code"], retryable=event["retryable"])


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
