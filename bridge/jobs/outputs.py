"""The output that a job wants, written as its layers become final."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

from bridge.errors import UnflattenError
from bridge.files.save import save
from bridge.jobs.images import encode
from bridge.jobs.job import ImageFile, LayeredFile, LayerImages, Output, RawLayers, RawPicture, Source
from bridge.jobs.writing import write_layer
from bridge.picture import Layer, Picture, Stack

WRITERS = 2
"""Layers written at a time: two cores do the file system's copy in half the time."""
LARGEST_WEBP = 16_383
"""Pixels of a side; the format has no more."""

Tell = Callable[..., None]


class Writer(Protocol):
    """Takes a stack's plan, its layers as they become final, and is whole after `end`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def plan(self, stack: Stack) -> None: ...

    def layer(self, index: int, layer: Layer) -> None: ...

    def end(self) -> None:
        """Return once all of it lies on the disk. Raises OutOfSpace."""
        ...


def open_writer(output: Output, folder: Path, source: Source, picture: Picture, tell: Tell) -> Writer:
    """The writer of that output. folder: the job's; tell: passes an event on. Raises UnflattenError."""
    match output:
        case RawLayers():
            return _RawLayers(folder, source.channels if isinstance(source, RawPicture) else "RGBA", tell)
        case LayerImages():
            return _LayerImages(output, folder, picture, tell)
        case LayeredFile():
            return _LayeredFile(output, Path(source.path).name if isinstance(source, ImageFile) else "", picture, tell)


class _Beside:
    """Does work beside the measuring, a few pieces at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WRITERS, "writing")
        self._pieces: list[Future[None]] = []
        self._planned = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # a job that failed must not be told of a layer after its end
        self._pool.shutdown(wait=True, cancel_futures=True)

    def plan(self, stack: Stack) -> None:
        self._planned = len(stack.layers)

    def end(self) -> None:
        for piece in self._pieces:
            piece.result()

    def _add(self, work: Callable[[], None]) -> None:
        """Begin a piece. With the last, wait for all: the measuring that follows can wait, and the artist can't."""
        self._pieces.append(self._pool.submit(work))
        if len(self._pieces) == self._planned:
            _Beside.end(self)


class _RawLayers(_Beside):
    """Flat pixels. The first layer is on its way to Krita while the last is written."""

    def __init__(self, folder: Path, channels: str, tell: Tell) -> None:
        super().__init__()
        self._folder = folder
        self._channels = channels
        self._tell = tell

    def layer(self, index: int, layer: Layer) -> None:
        def write() -> None:
            write_layer(self._folder, index, layer.pixels, self._channels)
            self._tell("layer", index=index)

        self._add(write)


class _LayerImages(_Beside):
    """Image files as large as the picture."""

    def __init__(self, output: LayerImages, folder: Path, picture: Picture, tell: Tell) -> None:
        super().__init__()
        size = (picture.width, picture.height)
        if output.format == "webp" and max(size) > LARGEST_WEBP:
            raise UnflattenError(
                f"A WebP file has at most {LARGEST_WEBP} pixels a side.",
                "Ask for png.",
                code="image_too_large",
                kind="picture",
            )
        self._output = output
        self._folder = folder
        self._size = size
        self._tell = tell

    def layer(self, index: int, layer: Layer) -> None:
        def write() -> None:
            saved = encode(self._folder, index, layer, self._size, self._output)
            self._tell("image", index=index, nbytes=saved.nbytes, unsafe=saved.unsafe)

        self._add(write)


class _LayeredFile:
    """One file that holds the whole stack: written when it is complete."""

    def __init__(self, output: LayeredFile, title: str, picture: Picture, tell: Tell) -> None:
        self._output = output
        self._title = title
        self._picture = picture
        self._tell = tell
        self._layers: dict[int, Layer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._layers.clear()

    def plan(self, stack: Stack) -> None:
        self._size = stack.width, stack.height

    def layer(self, index: int, layer: Layer) -> None:
        self._layers[index] = layer

    def end(self) -> None:
        self._tell("progress", stage="Saving", step=0, steps=1)
        width, height = self._size
        stack = Stack(tuple(self._layers[index] for index in sorted(self._layers)), width, height)
        save(stack, self._picture, Path(self._output.path), self._output.format)
        if self._output.sheet:
            from bridge.files.sheet import write_sheet

            try:
                write_sheet(stack, self._picture, self._title, Path(self._output.sheet))
            except UnflattenError as problem:
                saved = f"The layers are saved in {self._output.path}, but the contact sheet is not. {problem.message}"
                raise UnflattenError(saved, problem.hint, code="sheet_not_saved") from problem
