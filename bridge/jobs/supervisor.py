"""Worker processes as the engine sees them: started when there is work, watched, and ended when they have been idle."""

import asyncio
import contextlib
import itertools
import logging
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from bridge.backends.placement import CPU, Placement, python_of
from bridge.errors import UnflattenError, WorkerDied, WorkerKilled
from bridge.jobs.memory import give_back_memory
from bridge.jobs.process import WorkerProcess

Message = dict[str, Any]

# -P and a path at the end: a worker started from some folder of pictures must not import what lies there.
WORKER_COMMAND = (
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.path.append(sys.argv[1]); from bridge.jobs.worker import main; main(int(sys.argv[2]))",
    str(Path(__file__).parents[2]),
)
PROCESSOR = Placement(CPU)
ANSWER_PATIENCE = 60.0
"""Seconds that a question may take."""
TRIES = 2
"""A worker that is ended for one job's sake takes its questions along: they are asked again, and a job that it had not
taken yet goes to another."""

_BEFORE_LAYERS = ("opened", "progress", "preview")

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
        self._leaving: set[str] = set()
        """Lanes whose models go with the last client."""

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

    async def prepare(self, backend: str | None = None) -> None:
        """Have a worker ready for a job that is about to come, of that backend where it is known.

        Never raises: an error shows when the job runs.
        """
        with contextlib.suppress(UnflattenError, OSError):
            await self._free(PROCESSOR).prepare(backend)

    async def run(self, job: str, order: Message, placement: Placement = PROCESSOR) -> AsyncGenerator[Message, None]:
        """Run a job in one of its lane's workers, and yield its events up to `done`.

        Raises what the worker reports, and WorkerDied. Where whoever listens is cancelled, the worker gets the
        placement's `cancel_patience` to end the job in order, then it is ended.
        """
        if placement.leaves_with_client:
            self._leaving.add(placement.lane)
        else:
            self._leaving.discard(placement.lane)
        worker = self._free(placement)
        async with aclosing(worker.run(job, order, placement.cancel_patience)) as events:
            async for event in events:
                yield event

    def client_came(self) -> None:
        """A client is here again: no model goes after its job because there was none."""
        for lane in self._leaving:
            for worker in self._workers[lane]:
                worker.leaving = False

    def no_clients(self) -> None:
        """The last client has gone: end the workers whose models were to go with it, those with a job after that."""
        for lane in self._leaving:
            for worker in self._workers[lane]:
                worker.leaving = worker.job is not None
                worker.rest()

    async def ask(self, question: str, *, patience: float = ANSWER_PATIENCE, **fields: object) -> Message:
        """A worker's answer to a question, beside its job. patience: seconds. Raises what it reports."""
        worker = self._workers[CPU][0] if self._workers[CPU] else self._free(PROCESSOR)
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

    def _free(self, placement: Placement) -> "Supervisor":
        """A supervisor of the lane whose worker has no job; places in the lane bound how many there are."""
        idle = self._idle if placement.lane == CPU else placement.keep_alive
        for worker in self._workers[placement.lane]:
            if worker.environment != placement.environment:
                worker.rest()  # its model would share the memory
            elif worker.job is None:
                worker.idle = idle
                return worker
        python = [str(python_of(placement.environment))] if placement.environment else self._command[:1]
        command = [*python, *self._command[1:]]
        worker = Supervisor(self._last_words, idle=idle, command=command, environment=placement.environment)
        self._workers[placement.lane].append(worker)
        return worker


class Supervisor:
    """At most one worker process, with at most one job."""

    def __init__(self, last_words: Path | None, *, idle: float, command: Sequence[str], environment: str = "") -> None:
        self.job: str | None = None
        self.idle = idle
        self.environment = environment
        self.leaving = False
        """Whether the worker ends with its job."""
        self._last_words = last_words
        self._command = command
        self._worker: WorkerProcess | None = None
        self._starting = asyncio.Lock()
        self._questions = itertools.count()
        self._rest: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None
        self._killed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id; None where none runs."""
        return self._worker and self._worker.pid

    async def prepare(self, backend: str | None) -> None:
        """Start the worker, and let it import what all backends need, and that one."""
        (await self._ready()).send({"do": "prepare", "backend": backend})

    async def run(self, job: str, order: Message, cancel_patience: float) -> AsyncGenerator[Message, None]:
        """As `Workers.run`."""
        self.job = job
        ended, may_repeat = False, True
        try:
            worker = await self._take(job, order)
            while not ended:
                try:
                    event = await worker.next_event()
                except WorkerKilled:
                    if not may_repeat or self._killed:
                        raise
                    log.info("job %s is run once more: its worker was killed", job)
                    may_repeat = False
                    worker = await self._take(job, order)
                    continue
                if event.get("job") != job:
                    continue
                # A second run may give other layers than those that were told.
                may_repeat = may_repeat and event["event"] in _BEFORE_LAYERS
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
            if self.leaving:
                self.leaving = False
                self.rest()

    async def _take(self, job: str, order: Message) -> WorkerProcess:
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
        """End the worker at once, and with it its job."""
        self._killed = True
        if self._worker is not None:
            self._worker.kill()

    async def close(self) -> None:
        """End the worker, kindly first."""
        self._killed = True
        self._stay()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end()
        if self._ending is not None:
            await self._ending

    async def _ready(self) -> WorkerProcess:
        self._stay()
        async with self._starting:
            if self._worker is None or self._worker.ended:
                self._worker = await WorkerProcess.start(self._command, self._last_words)
            self._rest_later()
            return self._worker

    def _stay(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _rest_later(self) -> None:
        self._stay()
        if self._worker is not None:
            self._rest = asyncio.get_running_loop().call_later(self.idle, self.rest)

    def rest(self) -> None:
        """End the worker, unless it has something to do."""
        if self._worker is None:
            return
        if self._worker.asked or self.job is not None:
            self._rest_later()
            return
        worker, self._worker = self._worker, None
        self._ending = asyncio.ensure_future(self._let_go(worker))

    async def _let_go(self, worker: WorkerProcess) -> None:
        await worker.end()
        give_back_memory()
        log.info("worker %d ended after its idle time", worker.pid)
