"""Finished layers to files, beside each other."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bridge.jobs.spool import write_layer

if TYPE_CHECKING:
    from bridge.picture import Pixels

ROWS_BYTES = 2**18  # turned around and written while they are in the processor's cache
WRITERS = 2
"""Layers written at a time: the file system's part is a copy in memory, which two cores do in half the time."""


class Writing:
    """Writes a job's finished layers beside each other: the first is on its way to Krita while the last is written.

    `whole` is called with a layer's index once its file is, from the thread that wrote it.
    """

    def __init__(self, folder: Path, channels: str, whole: Callable[[int], None]) -> None:
        """channels: RGBA or BGRA, the order to write in."""
        self._folder = folder
        self._channels = channels
        self._whole = whole
        self._pool = ThreadPoolExecutor(WRITERS, "writing")
        self._writes: list[Future[None]] = []
        self._expected = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A job that failed must not be told of a layer after its end.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def expect(self, layers: int) -> None:
        """So many layers will come."""
        self._expected = layers

    def add(self, index: int, pixels: "Pixels") -> None:
        """Begin to write a layer. With the last, wait for all: the measuring that follows can, and Krita can't."""
        self._writes.append(self._pool.submit(self._write, index, pixels))
        if len(self._writes) == self._expected:
            self.finish()

    def finish(self) -> None:
        """Wait until every layer lies whole on the disk. Raises OutOfSpace."""
        for write in self._writes:
            write.result()

    def _write(self, index: int, pixels: "Pixels") -> None:
        write_layer(self._folder, index, flat_rows(pixels, self._channels))
        self._whole(index)


def flat_rows(pixels: "Pixels", channels: str) -> Iterator[memoryview]:
    """The flat bytes of (h, w, n) `pixels`, some rows at a time; RGBA in the order of `channels`."""
    import cv2
    import numpy as np

    rows = max(1, ROWS_BYTES // (pixels.shape[1] * pixels.shape[2] * pixels.itemsize))
    for top in range(0, len(pixels), rows):
        some = np.ascontiguousarray(pixels[top : top + rows])
        if channels == "BGRA":
            some = cv2.cvtColor(some, cv2.COLOR_RGBA2BGRA)
        yield some.reshape(-1).view(np.uint8).data
