"""The worker process: the heavy work of one job at a time, in JSON lines over its pipes.

In:  prepare {backend} · go {job} · cancel {job}
     run {job, folder, width, height, channels, model, depth, view, profile_bytes, settings, backend, handle,
          others}
     backends {id} · estimate {id, backend, settings, width, height} · decode {id, folder}
     encode {id, folder, index, rect, size, kind, check}, each as {do: …}. The file's end ends the process.
Out: taken {job} · progress {job, stage, step, steps, seconds_left?} · handle {job, text}, which waits for its `go`
     stack {job, layers} · layer {job, index}, once its file is whole · done {job, report}
     error {job?|id?, code, message, hint, retryable, where} · answer {id, …}, each as {event: …}
"""

# Only light imports here: the ties to the parent must hold before numpy and its kind take their half second.
import contextlib
import faulthandler
import gc
import json
import logging
import mmap
import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from bridge.errors import Cancelled, UnflattenError, WorkerDied
from bridge.jobs.spool import PICTURE, out_of_space
from bridge.jobs.writing import Writing
from bridge.protocol import MODELS

if TYPE_CHECKING:
    from bridge.decompose import Step
    from bridge.picture import Picture, Pixels

Message = dict[str, Any]

NICENESS = 10
"""Krita's own brush strokes go first."""
HANDLE_PATIENCE = 0.5
"""Seconds in which a bridge that is alive has written a handle down."""
PACE_RANGE = (0.2, 5.0)


class Worker:
    """Reads orders in a thread, so that a cancel is heard while the main thread works."""

    def __init__(self, orders: BinaryIO, events: BinaryIO) -> None:
        self._orders = orders
        self._events = events
        self._telling = threading.Lock()
        self._runs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._go = threading.Event()
        self._pace = 1.0
        """Seconds taken over seconds estimated, of the last job: this machine's own speed."""

    def work(self) -> None:
        """Run what is ordered, until the bridge closes the pipe."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        while True:
            order = self._runs.get()
            if order["do"] == "prepare":
                self._prepare(order)
            else:
                self._run(order)
            self._cancelled.discard(str(order.get("job")))
            gc.collect()

    def _listen(self) -> None:
        for line in self._orders:
            order: Message = json.loads(line)
            match order["do"]:
                case "run" | "prepare":
                    self._runs.put(order)
                case "cancel":
                    self._cancelled.add(order["job"])
                case "go":
                    self._go.set()
                case _:
                    # beside the job that runs: a question is answered at once
                    threading.Thread(target=self._answer, args=(order,), daemon=True).start()
        os._exit(0)  # the bridge is gone or wants no more: not a moment longer, whatever runs

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
            from bridge.jobs.local import load

            load(order["backend"])

    def _run(self, order: Message) -> None:
        job = order["job"]
        self._tell("taken", job=job)
        try:
            self._split(job, order)
        except Exception as error:
            self._tell("error", job=job, **describe(error))
            if isinstance(error, MemoryError):
                os._exit(1)  # what is left of the heap is in pieces: the next job gets a new process

    def _split(self, job: str, order: Message) -> None:
        from bridge.jobs.local import load, run_local
        from bridge.settings import Settings

        settings = Settings(**order["settings"])
        width, height, name = order["width"], order["height"], order["backend"]
        folder = Path(order["folder"])
        picture = map_picture(folder, order)
        estimated = load(name).estimate(width, height, settings).seconds
        began = time.monotonic()
        channels = order["channels"]
        steps = run_local(
            picture,
            settings,
            name,
            cancelled=lambda: job in self._cancelled,
            handle=order.get("handle"),
            others=tuple(order.get("others", ())),
        )
        whole = Writing(folder, channels, lambda index: self._tell("layer", job=job, index=index))
        with whole as writing, contextlib.closing(steps):
            for step in steps:
                self._report(job, writing, step, Clock(estimated * self._pace, time.monotonic() - began))
        if estimated > 0:
            low, high = PACE_RANGE
            self._pace = min(max((time.monotonic() - began) / estimated, low), high)

    def _report(self, job: str, writing: Writing, step: "Step", clock: "Clock") -> None:
        from bridge.backends.base import Handle, Progress
        from bridge.decompose import Finished, Planned

        match step:
            case Progress(stage, number, steps):
                left = clock.left(number, steps)
                known = {} if left is None else {"seconds_left": round(left, 1)}
                self._tell("progress", job=job, stage=stage, step=number, steps=steps, **known)
            case Handle(text):
                self._go.clear()
                self._tell("handle", job=job, text=text)
                while not self._go.wait(HANDLE_PATIENCE):
                    if job in self._cancelled:  # nothing is done that nobody could write down
                        raise Cancelled()
            case Planned(stack):
                writing.expect(len(stack.layers))
                self._tell("stack", job=job, layers=[[each.name, each.kind, each.rect] for each in stack.layers])
            case Finished(index, layer):
                writing.add(index, layer.pixels)
            case report:
                writing.finish()
                self._tell("done", job=job, report=report.as_dict())

    def _answer(self, order: Message) -> None:
        try:
            self._tell("answer", id=order["id"], **self._answer_to(order))
        except Exception as error:
            self._tell("error", id=order["id"], **describe(error))

    def _answer_to(self, order: Message) -> Message:
        from bridge.jobs.local import load, offers
        from bridge.settings import Settings

        match order["do"]:
            case "backends":
                return {"backends": offers()}
            case "estimate":
                settings = Settings(**order["settings"])
                estimate = load(order["backend"]).estimate(order["width"], order["height"], settings)
                return {"seconds": round(estimate.seconds * self._pace, 1), "dollars": estimate.dollars}
            case "decode":
                from bridge.jobs.images import decode

                width, height = decode(Path(order["folder"]))
                return {"width": width, "height": height}
            case "encode":
                from bridge.jobs.images import encode

                rect, size = tuple(order["rect"]), tuple(order["size"])
                folder, index, kind = Path(order["folder"]), order["index"], order["kind"]
                nbytes, unsafe = encode(folder, index, rect, size, kind, check=order["check"])
                return {"nbytes": nbytes, "unsafe": unsafe}
            case question:
                raise ValueError(question)


def _plain(value: Any) -> object:
    """A numpy number as Python's own: splitters compute rectangles and figures with arrays."""
    return value.item()


def map_picture(folder: Path, order: Message) -> "Picture":
    """The job's picture, read-only, so that no backend can change it under the exactness; mapped where it can be."""
    import numpy as np

    from bridge.picture import Picture

    with open(folder / PICTURE, "rb") as file:
        if sys.platform == "linux":  # all pages at once: one by one, their faults cost as much as a copy
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            mapped = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
        else:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    height, width, model = order["height"], order["width"], order["model"]
    dtype = np.dtype({"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}[order["depth"]])
    count = MODELS[model] + 1
    pixels = np.frombuffer(mapped, dtype, height * width * count).reshape(height, width, count)
    end = pixels.nbytes
    if order["channels"] == "BGRA":
        pixels = turned(pixels)
    if not order["view"]:
        return Picture(pixels)
    view = np.frombuffer(mapped, np.uint8, height * width * 4, end).reshape(height, width, 4)
    profile = bytes(mapped[end + view.nbytes :]) or None
    return Picture(pixels, model, profile, turned(view))


def turned(pixels: "Pixels") -> "Pixels":
    """(h, w, 4) BGRA as RGBA, read-only."""
    import cv2
    import numpy as np

    rgba = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))
    rgba.flags.writeable = False
    return rgba


class Clock(NamedTuple):
    """Seconds that a job was estimated to take, and those that it has taken."""

    estimated: float
    taken: float

    def left(self, step: int, steps: int) -> float | None:
        """Seconds left after `step` of `steps`. Past the estimate: as many for each as so far."""
        if self.taken < self.estimated:
            return self.estimated - self.taken
        return self.taken * (steps - step) / step if 0 < step < steps else None


def describe(error: Exception) -> dict[str, object]:
    """An error's fields for the bridge. `where`, for the log: lines of code, no values (often the user’s words)."""
    shown = error if isinstance(error, UnflattenError) else _sentence(error)
    fields = {"code": shown.code, "message": shown.message, "hint": shown.hint, "retryable": shown.retryable}
    return {**fields, "where": "" if shown is error else where(error)}


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
    """End with the bridge, however it ends. Where the kernel can't promise that, the closed pipe does."""
    if sys.platform == "linux":
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(0)
        with contextlib.suppress(OSError):  # when memory runs out, this process goes, not Krita with the artist's work
            Path("/proc/self/oom_score_adj").write_text("500")


def be_polite() -> None:
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(NICENESS)


def keep_quiet() -> BinaryIO:
    """Keep what libraries print away from the pipe and from every log: it may hold words read in the picture.

    Returns the pipe to the bridge. File descriptor 2 stays for last words at the C level, which are lines of code.
    """
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    faulthandler.enable(file=2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    return events


def main(parent: int) -> None:
    """Serve the bridge whose process id is `parent`."""
    tie_to_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the bridge's terminal is the bridge's to handle
    be_polite()
    Worker(sys.stdin.buffer, keep_quiet()).work()


if __name__ == "__main__":
    main(int(sys.argv[1]))
