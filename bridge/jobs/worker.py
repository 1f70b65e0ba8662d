"""The worker process: the heavy work of one job at a time, in JSON lines over its pipes.

In:  prepare {backend} · cancel {job}
     split | draft | finish {job, folder, source, output, settings, backend, options, seed, drafted?}
         split: the whole way with a model of this process; draft: its first half, finish: the second, from the folder
     pack {id, folder, source, settings, backend} · decode {id, folder}, each as {do: …}. The end ends the process.
Out: taken {job} · opened {job, width, height} · progress {job, stage, step, steps, seconds_left?} · stack {job, layers}
     preview {job, layers, width, height, path} · layer {job, index}, once its file is whole
     image {job, index, nbytes, unsafe} · done {job, report?}
     error {job?|id?, code, kind, message, hint, retryable, where} · answer {id, …}, each as {event: …}
"""

# Only light imports here: the ties to the parent must hold before numpy and its kind take their half second.
import contextlib
import faulthandler
import json
import logging
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from bridge.errors import UnflattenError, WorkerDied
from bridge.files.disk import out_of_space
from bridge.jobs.memory import Cycles

Message = dict[str, Any]

LOOK_EVERY = 5.0
"""Seconds between two looks at whether another program needs the memory of an idle model."""
NICENESS = 10
"""Krita's own brush strokes go first."""


class Worker:
    """Reads orders in a thread, so that a cancel is heard while the main thread works."""

    def __init__(self, orders: BinaryIO, events: BinaryIO) -> None:
        self._orders = orders
        self._events = events
        self._telling = threading.Lock()
        self._runs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._cycles = Cycles()

    def work(self) -> None:
        """Do what is ordered, until the engine closes the pipe."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        while True:
            order = self._next()
            if order["do"] == "prepare":
                self._prepare(order)
            else:
                self._run(order)
            self._cancelled.discard(str(order.get("job")))
            self._cycles.free()

    def _next(self) -> Message:
        """The next order. A model whose memory another program needs goes meanwhile, with this process: a graphics
        card's driver gives back the rest of it only then."""
        while True:
            try:
                return self._runs.get(timeout=LOOK_EVERY if self._watches_memory() else None)
            except queue.Empty:
                from bridge.jobs import work

                if work.memory_wanted():
                    os._exit(0)

    def _watches_memory(self) -> bool:
        work = sys.modules.get("bridge.jobs.work")  # no picture library is loaded just to ask
        return work is not None and work.watches_memory()

    def _listen(self) -> None:
        for line in self._orders:
            order: Message = json.loads(line)
            match order["do"]:
                case "split" | "draft" | "finish" | "prepare":
                    self._runs.put(order)
                case "cancel":
                    self._cancelled.add(order["job"])
                case _:
                    # beside the job that runs: a question is answered at once
                    threading.Thread(target=self._answer, args=(order,), daemon=True).start()
        os._exit(0)  # the engine is gone or wants no more: not a moment longer, whatever runs

    def _tell(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, **fields}, ensure_ascii=False, default=_plain).encode() + b"\n"
        with self._telling:
            try:
                self._events.write(line)
                self._events.flush()
            except OSError:
                os._exit(0)

    def _prepare(self, order: Message) -> None:
        """Import what the coming job needs, while its picture still arrives. An error shows when the job runs."""
        with contextlib.suppress(Exception):
            from bridge.jobs import work

            work.prepare(order["backend"])

    def _run(self, order: Message) -> None:
        job = order["job"]
        self._tell("taken", job=job)
        try:
            from bridge.jobs import work

            def tell(event: str, **fields: object) -> None:
                self._tell(event, job=job, **fields)

            todo = work.Work(order, tell=tell, cancelled=lambda: job in self._cancelled)
            {"split": todo.split, "draft": todo.draft, "finish": todo.finish}[order["do"]]()
        except Exception as error:
            self._tell("error", job=job, **describe(error))
            if isinstance(error, MemoryError):
                os._exit(1)  # what is left of the heap is in pieces: the next job gets a new process

    def _answer(self, order: Message) -> None:
        try:
            self._tell("answer", id=order["id"], **_answer_to(order))
        except Exception as error:
            self._tell("error", id=order["id"], **describe(error))


def _answer_to(order: Message) -> Message:
    folder = Path(order["folder"])
    match order["do"]:
        case "pack":
            from bridge.jobs.work import pack

            return {"nbytes": pack(order)}
        case "decode":
            from bridge.jobs.images import decode

            width, height = decode(folder)
            return {"width": width, "height": height}
        case question:
            raise ValueError(question)


def _plain(value: Any) -> object:
    """A numpy number as Python's own: splitters compute rectangles and figures with arrays."""
    return value.item()


def describe(error: Exception) -> dict[str, object]:
    """An error's fields for the engine. `where`, for the log: lines of code, no values (often the user’s words)."""
    shown = error if isinstance(error, UnflattenError) else _sentence(error)
    return {**shown.as_dict(), "where": "" if shown is error else where(error)}


def _sentence(error: Exception) -> UnflattenError:
    if isinstance(error, MemoryError):
        return WorkerDied(
            "The computer ran out of memory while splitting the picture.",
            "Close other programs, or scale the picture down, then try again.",
            code="out_of_memory",
        )
    return out_of_space(error) or UnflattenError(
        "Something went wrong inside Unflatten while splitting the picture.",
        "Try again. If it happens again, run “unflatten doctor” and report what it shows.",
    )


def where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(
        [type(error).__name__, *(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))]
    )


def tie_to_parent(parent: int) -> None:
    """End with the engine, however it ends. Where the kernel can't promise that, the closed pipe does."""
    if sys.platform == "linux":
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(0)
        with contextlib.suppress(OSError):  # when memory runs out, this process goes, not Krita with the artist's work
            Path("/proc/self/oom_score_adj").write_text("500")


def be_polite() -> None:
    """Let every other program go first."""
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(NICENESS)


def keep_quiet() -> BinaryIO:
    """Keep what libraries print away from the pipe and from every log: it may hold words read in the picture.

    Returns the pipe to the engine. File descriptor 2 stays for last words at the C level, which are lines of code.
    """
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    faulthandler.enable(file=2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    return events


def main(parent: int) -> None:
    """Serve the engine whose process id is `parent`."""
    tie_to_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is the engine's to handle
    be_polite()
    Worker(sys.stdin.buffer, keep_quiet()).work()


if __name__ == "__main__":
    main(int(sys.argv[1]))
