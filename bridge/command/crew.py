"""Worker processes for a batch: each splits one picture at a time, and one that dies costs only its own picture."""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

from bridge.backends.base import Progress
from bridge.command.split import Order, Outcome, split
from bridge.errors import UnflattenError, WorkerDied

MEMORY_EACH = 2 * 2**30
"""Bytes that splitting one picture of a few megapixels takes at most."""
CORES_EACH = 2
"""Cores that one picture keeps busy: with more workers than that they wait for each other."""
PATIENCE = 5.0

Result = Outcome | UnflattenError
OnProgress = Callable[[Order, Progress], None]


@dataclass(frozen=True)
class _Slot:
    process: BaseProcess
    pipe: Connection


def worker_count(pictures: int, cores: int, memory: int) -> int:
    """As many workers as help: bounded by the pictures, by the cores and by the free memory in bytes."""
    return max(1, min(pictures, -(-cores // CORES_EACH), memory // MEMORY_EACH))


def work_through(
    orders: Iterable[Order], workers: int, on_progress: OnProgress, cancelled: Callable[[], bool]
) -> Iterator[tuple[Order, Result]]:
    """Split every picture, `workers` at once, and yield each result as it comes, until `cancelled` answers True."""
    waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
    for order in orders:
        waiting.put(order)
    total = waiting.qsize()
    done: queue.SimpleQueue[tuple[Order, Result]] = queue.SimpleQueue()
    ending = threading.Event()
    threads = [
        threading.Thread(target=_mind, args=(waiting, done, on_progress, ending), daemon=True) for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        while total:
            try:
                yield done.get(timeout=0.2)
                total -= 1
            except queue.Empty:
                if cancelled():
                    return
    finally:
        ending.set()
        for thread in threads:
            thread.join(PATIENCE)


def _mind(
    waiting: "queue.SimpleQueue[Order]",
    done: "queue.SimpleQueue[tuple[Order, Result]]",
    on_progress: OnProgress,
    ending: threading.Event,
) -> None:
    """Keep one worker process busy until nothing waits any more; start another when it dies."""
    slot: _Slot | None = None
    while not ending.is_set():
        try:
            order = waiting.get_nowait()
        except queue.Empty:
            break
        slot = slot or _started()
        try:
            done.put((order, _result_of(slot, order, on_progress, ending)))
        except (EOFError, OSError):
            if ending.is_set():
                break
            slot.process.join(PATIENCE)
            slot = None
            died = WorkerDied(
                f"The process that split {order.source.name} ended in the middle of it, perhaps for want of memory.",
                "Close other programs or make the picture smaller, then run the same command again.",
            )
            done.put((order, died))
    if slot:
        _end(slot, at_once=ending.is_set())


def _result_of(slot: _Slot, order: Order, on_progress: OnProgress, ending: threading.Event) -> Result:
    """Hand `order` to the worker and hear it out; EOFError where it dies or is no longer waited for."""
    slot.pipe.send(order)
    while not ending.is_set():
        if not slot.pipe.poll(0.2):
            continue
        heard: Progress | Result = slot.pipe.recv()
        if isinstance(heard, Progress):
            on_progress(order, heard)
        else:
            return heard
    raise EOFError


def _started() -> _Slot:
    # spawn, since a fork would copy this process's threads in the middle of what they do
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return _Slot(process, ours)


def _end(slot: _Slot, *, at_once: bool) -> None:
    with contextlib.suppress(OSError):
        slot.pipe.close()
    if at_once:
        slot.process.terminate()
    slot.process.join(PATIENCE)
    if slot.process.is_alive():
        slot.process.kill()


def _serve(pipe: Connection, parent: int) -> None:
    """The worker process: pictures come in by the pipe, results go out; it ends with the pipe or with its parent."""
    from bridge.jobs.worker import tie_to_parent

    tie_to_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole group; the parent says what to do
    signal.signal(signal.SIGTERM, _leave)
    while True:
        try:
            order: Order = pipe.recv()
            pipe.send(_split(order, pipe))
        except (EOFError, OSError):
            return


def _leave(number: int, _: FrameType | None) -> None:
    # As an exception: a file half-written is removed on the way out.
    raise SystemExit(128 + number)


def _split(order: Order, pipe: Connection) -> Result:
    try:
        return split(order, pipe.send, lambda: False)
    except UnflattenError as problem:
        return problem
    except MemoryError:
        return UnflattenError(
            f"There was not enough memory for {order.source.name}.",
            "Make the picture smaller, or close other programs.",
        )
    except Exception as problem:
        return UnflattenError(
            f"{order.source.name} could not be split: {type(problem).__name__}.", "Report it as a bug."
        )
