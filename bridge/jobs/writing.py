"""Finished layers to files, beside each other."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bridge.jobs.spool import write_layer

if TYPE_CHECKING:
    from bridge.picture import Pixels

WRITERS = 2
"""Layers written at a time: the file system's part is a copy in memory, which two cores do in half the time."""


class Writing:
    """Writes a job's finished layers beside each other: the first is on its way to Krita while the last is written.

    `whole` is called with a layer's index once its file is, from the thread that wrote it.
    """

    def __init__(self, folder: Path, whole: Callable[[int], None]) -> None:
        self._folder = folder
        self._whole = whole
        self._pool = ThreadPoolExecutor(WRITERS, "writing")
        self._writes: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A job that failed must not be told of a layer after its end.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, index: int, pixels: "Pixels") -> None:
        """Begin to write a layer."""
        self._writes.append(self._pool.submit(self._write, index, pixels))

    def finish(self) -> None:
        """Wait until every layer lies whole on the disk. Raises OutOfSpace."""
        for write in self._writes:
            write.result()

    def _write(self, index: int, pixels: "Pixels") -> None:
        import numpy as np

        write_layer(self._folder, index, np.ascontiguousarray(pixels).reshape(-1).data)
        self._whole(index)
