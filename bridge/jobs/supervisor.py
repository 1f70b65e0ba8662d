"""Worker processes as the engine sees them: started when there is work, watched, and ended when they have been idle."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from bridge.backends.base import CPU
from bridge.errors import UnflattenError, WorkerDied
from bridge.files.disk import private
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
"""Bytes of one message."""
LAST_WORDS = 256 * 1024
"""Bytes of the log of workers' last words, before it is begun anew."""
ANSWER_PATIENCE = 60.0
"""Seconds that a question may take."""
END_PATIENCE = 2.0
"""Seconds that an idle worker gets to end in order."""
TRIES = 2
"""A worker that is ended for one job's sake takes its questions along: they are asked again, and a job that it had not
taken yet goes to another."""

log = logging.getLogger("unflatten")


class Workers:
    """The worker processes of all lanes. `command` is started with this process's id as its last argument."""

    def __init__(self, last_words: Path | None, *, idle: float = 60.0, command: Sequence[str] = WORKER_COMMAND) -> None:
        """last_words: where they write what they say at their end; None: nowhere. idle: seconds until an idle one ends,
        in the processor's lane."""
        self._last_words = last_words
        self._idle = idle
        self._command = command
        self._workers: defaultdict[str, list[Supervisor]] = defaultdict(list)

    @property
    def state(self) -> str:
        """none, idle or working."""
        workers = [each for lane in self._workers.values() for each in lane if each.pid is not None]
        if not workers:
            return "none"
        return "working" if any(each.job is not None for each in workers) else "idle"

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run."""
        return [each.pid for lane in self._workers.values() for each in lane if each.pid is not None]

    async def prepare(self, backend: str) -> None:
        """Have a worker ready for a job that is about to come. Never raises: an error shows when the job runs."""
        with contextlib.suppress(UnflattenError, OSError):
            await self._free(CPU, self._idle).prepare(backend)

    async def run(
        self, job: str, order: Message, *, lane: str = CPU, keep_alive: float = 60.0, cancel_patience: float = 3.0
    ) -> AsyncGenerator[Message, None]:
        """Run a job in one of the lane's workers, and yield its events up to `done`.

        Raises what the worker reports, and WorkerDied. Where whoever listens is cancelled, the worker gets
        `cancel_patience` seconds to end the job in order, then it is ended. keep_alive: seconds that the worker, and
        the model loaded in it, outlive the job.
        """
        worker = self._free(lane, self._idle if lane == CPU else keep_alive)
        async with aclosing(worker.run(job, order, cancel_patience)) as events:
            async for event in events:
                yield event

    async def ask(self, question: str, *, patience: float = ANSWER_PATIENCE, **fields: object) -> Message:
        """A worker's answer to a question, beside its job. patience: seconds. Raises what it reports."""
        worker = self._workers[CPU][0] if self._workers[CPU] else self._free(CPU, self._idle)
        for _ in range(TRIES - 1):
            with contextlib.suppress(WorkerDied):
                return await worker.ask(question, fields, patience)
        return await worker.ask(question, fields, patience)

    def kill(self) -> None:
        """End all of them at once, whatever they do."""
        for lane in self._workers.values():
            for worker in lane:
                worker.kill()

    async def close(self) -> None:
        """End all of them, kindly first."""
        await asyncio.gather(*(worker.close() for lane in self._workers.values() for worker in lane))

    def _free(self, lane: str, idle: float) -> "Supervisor":
        """A supervisor of the lane whose worker has no job; places in the lane bound how many there are."""
        for worker in self._workers[lane]:
            if worker.job is None:
                return worker
        worker = Supervisor(self._last_words, idle=idle, command=self._command)
        self._workers[lane].append(worker)
        return worker


class Supervisor:
    """At most one worker process, with at most one job."""

    def __init__(self, last_words: Path | None, *, idle: float, command: Sequence[str]) -> None:
        self.job: str | None = None
        self._last_words = last_words
        self._idle = idle
        self._command = command
        self._worker: _Process | None = None
        self._starting = asyncio.Lock()
        self._questions = itertools.count()
        self._rest: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id; None where none runs."""
        return self._worker and self._worker.pid

    async def prepare(self, backend: str) -> None:
        """Start the worker, and let it import what that backend needs."""
        (await self._ready()).send({"do": "prepare", "backend": backend})

    async def run(self, job: str, order: Message, cancel_patience: float) -> AsyncGenerator[Message, None]:
        """As `Workers.run`."""
        self.job = job
        ended = False
        try:
            worker = await self._take(job, order)
            while not ended:
                event = await worker.next_event()
                if event.get("job") != job:
                    continue
                ended = event["event"] in ("done", "error")
                if event["event"] == "error":
                    raise UnflattenError.from_dict(event)
                yield event
        except WorkerDied:
            ended = True
            raise
        finally:
            if not ended:  # whoever listened gave up
                await self._stop(job, cancel_patience)
            self.job = None
            self._rest_later()

    async def _take(self, job: str, order: Message) -> "_Process":
        """The worker, once it has taken the job. One that died before did not die of this job: another is tried."""
        for last_try in (False, True):
            worker = await self._ready()
            worker.send({"job": job, **order})
            try:
                while (event := await worker.next_event())["event"] != "taken" or event["job"] != job:
                    pass
                return worker
            except WorkerDied:
                if last_try:
                    raise
        raise AssertionError

    async def _stop(self, job: str, patience: float) -> None:
        """Have the job ended: in order within `patience` seconds, or with its worker."""
        worker = self._worker
        if worker is None or worker.ended:
            return
        worker.send({"do": "cancel", "job": job})
        try:
            async with asyncio.timeout(patience):
                while (event := await worker.next_event())["event"] not in ("done", "error") or event.get("job") != job:
                    pass
        except (TimeoutError, WorkerDied):
            worker.kill()
        except asyncio.CancelledError:
            worker.kill()
            raise

    async def ask(self, question: str, fields: Message, patience: float) -> Message:
        """As `Workers.ask`, but once."""
        worker = await self._ready()
        number = next(self._questions)
        try:
            async with asyncio.timeout(patience):
                return await worker.ask(number, {"do": question, "id": number, **fields})
        except TimeoutError:
            raise UnflattenError("The bridge's worker did not answer in time.", "Try again.", retryable=True) from None
        finally:
            self._rest_later()

    def kill(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()

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
        if self._worker is None:
            return
        if self._worker.asked or self.job is not None:
            self._rest_later()
            return
        worker, self._worker = self._worker, None
        self._ending = asyncio.ensure_future(self._let_go(worker))

    async def _let_go(self, worker: "_Process") -> None:
        await worker.end()
        give_back_memory()
        log.info("worker %d ended after its idle time", worker.pid)


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
    async def start(command: Sequence[str], last_words: Path | None) -> "_Process":
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
