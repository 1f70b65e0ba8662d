"""What a worker does for a job: open its picture, draft and finish its layers, and make the output that is wanted."""

import gc
import json
import mmap
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bridge.backends import registry
from bridge.backends.base import Fetched, JobContext, Model, Preview, Progress, RemoteBackend
from bridge.decompose import Drafted, Finished, Planned, Report, Step, decompose, draft, finish
from bridge.files.disk import write_whole
from bridge.jobs import drafts, previews
from bridge.jobs.files import PACKED, PICTURE
from bridge.jobs.job import ImageFile, RawPicture, Source
from bridge.jobs.outputs import open_writer
from bridge.jobs.plain import output_from_plain, source_from_plain
from bridge.picture import Picture, Pixels
from bridge.protocol import MODELS
from bridge.settings import Settings

Message = dict[str, Any]
Tell = Callable[..., None]


class Work:
    """One job's work in this process. tell: passes an event on to the engine, with its fields."""

    def __init__(self, order: Message, *, tell: Tell, cancelled: Callable[[], bool]) -> None:
        self._order = order
        self._tell = tell
        self._folder = Path(order["folder"])
        self._settings = Settings(**order["settings"])
        self._output = output_from_plain(order["output"])
        self._source = source_from_plain(order["source"])
        self._context = JobContext(order["seed"], cancelled=cancelled)

    def split(self) -> None:
        """The whole way: draft and finish."""
        picture = self._open()
        self._write(picture, decompose(picture, self._settings, self._model(), self._context))

    def draft(self) -> None:
        """The first half: the draft stays in the job's folder."""
        picture = self._open()
        steps = draft(picture, self._settings, self._model(), self._context)
        layers = run_to_end(steps, self._show).layers
        drafts.write_local(self._folder, drafts.LocalDraft(layers, self._context.notes, self._context.cost))
        self._tell("done")

    def finish(self) -> None:
        """The second half, of a draft that lies in the job's folder."""
        picture = self._open()
        found = drafts.read(self._folder)
        if isinstance(found, Fetched):
            backend = registry.get(self._order["backend"])
            assert isinstance(backend, RemoteBackend)
            self._context.seed, self._context.cost = found.seed, found.cost
            self._context.notes += found.notes
            layers = backend.unpack(found, self._settings, self._context)
        else:
            self._context.cost = found.cost
            self._context.notes += found.notes
            layers = found.layers
        seconds = self._order["drafted"]
        self._write(picture, finish(picture, self._settings, layers, self._context, seconds=seconds))

    def _open(self) -> Picture:
        picture = open_picture(self._folder, self._source)
        self._tell("opened", width=picture.width, height=picture.height)
        return picture

    def _model(self) -> Model:
        return _resident.model(self._order["backend"], self._order["options"])

    def _write(self, picture: Picture, steps: Generator[Step]) -> None:
        """Make the output of a journey's steps."""
        with open_writer(self._output, self._folder, self._source, picture, self._tell) as write, closing(steps):
            for step in steps:
                match step:
                    case Progress() | Preview():
                        self._show(step)
                    case Planned(stack):
                        write.plan(stack)
                        self._tell("stack", layers=[[each.name, each.kind, each.rect] for each in stack.layers])
                    case Finished(index, layer):
                        write.layer(index, layer)
                    case Report():
                        write.end()
                        self._tell("done", report=step.as_dict())

    def _show(self, step: Progress | Preview) -> None:
        if isinstance(step, Progress):
            left = {} if step.seconds_left is None else {"seconds_left": step.seconds_left}
            self._tell("progress", stage=step.stage, step=step.step, steps=step.steps, **left)
        else:
            self._tell("preview", **previews.write(self._folder, step))


def run_to_end(
    steps: Generator[Progress | Preview, None, Drafted], show: Callable[[Progress | Preview], None]
) -> Drafted:
    """Run a generator to its end, showing its steps; what it returns."""
    with closing(steps):
        while True:
            try:
                show(next(steps))
            except StopIteration as end:
                return end.value


class _Resident:
    """The model that is loaded in this process; it stays for the next job of the same backend and options."""

    def __init__(self) -> None:
        self._key = ""
        self._open = ExitStack()
        self._loaded: Model | None = None

    def model(self, name: str, options: Message) -> Model:
        """That backend's model. Raises BackendUnavailable."""
        key = json.dumps([name, options], sort_keys=True)
        if self._loaded is None or key != self._key:
            self._loaded = None
            self._open.close()  # first, so that two never share the memory
            gc.unfreeze()  # the model may hang together in cycles
            backend = registry.get(name)
            assert not isinstance(backend, RemoteBackend)
            self._loaded = self._open.enter_context(backend.open(backend.Options.model_validate(options)))
            self._key = key
        return self._loaded

    def watches_memory(self) -> bool:
        """Whether the model can tell that its memory is wanted."""
        return hasattr(self._loaded, "memory_wanted")

    def memory_wanted(self) -> bool:
        return self.watches_memory() and bool(getattr(self._loaded, "memory_wanted")())  # noqa: B009


_resident = _Resident()
watches_memory = _resident.watches_memory
"""Whether a model is loaded that can tell that another program needs its memory."""
memory_wanted = _resident.memory_wanted
"""Whether another program needs the memory of the model that is loaded."""


def prepare(backend: str | None) -> None:
    """Import what a job of that backend needs; None: nothing beyond this module."""
    if backend is not None:
        registry.get(backend)


def pack(order: Message) -> int:
    """Write what is sent of a job's picture into its folder; its bytes. Raises BadPicture and OutOfSpace."""
    backend = registry.get(order["backend"])
    assert isinstance(backend, RemoteBackend)
    folder = Path(order["folder"])
    picture = open_picture(folder, source_from_plain(order["source"]))
    packed = backend.pack(picture, Settings(**order["settings"]))
    write_whole(folder / PACKED, [packed])
    return len(packed)


def open_picture(folder: Path, source: Source) -> Picture:
    """The job's picture. Raises BadPicture."""
    if isinstance(source, ImageFile):
        from bridge.files.load import load_picture

        return load_picture(Path(source.path))
    assert isinstance(source, RawPicture)
    return map_picture(folder / PICTURE, source)


def map_picture(path: Path, source: RawPicture) -> Picture:
    """The picture, read-only, so that no backend can change it under the exactness; mapped where it can be."""
    with open(path, "rb") as file:
        if sys.platform == "linux":  # all pages at once: one by one, their faults cost as much as a copy
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            mapped = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
        else:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    height, width = source.height, source.width
    dtype = np.dtype({"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}[source.depth])
    count = MODELS[source.model] + 1
    pixels = np.frombuffer(mapped, dtype, height * width * count).reshape(height, width, count)
    end = pixels.nbytes
    if source.channels == "BGRA":
        pixels = _as_rgba(pixels)
    if not source.view:
        return Picture(pixels)
    view = np.frombuffer(mapped, np.uint8, height * width * 4, end).reshape(height, width, 4)
    profile = bytes(mapped[end + view.nbytes :]) or None
    return Picture(pixels, source.model, profile, _as_rgba(view))


def _as_rgba(pixels: Pixels) -> Pixels:
    """(h, w, 4) BGRA as RGBA, read-only."""
    rgba = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))
    rgba.flags.writeable = False
    return rgba
