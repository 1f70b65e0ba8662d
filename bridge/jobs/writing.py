"""A finished layer to a file of flat pixels, as Krita takes it."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from bridge.files.disk import write_whole
from bridge.jobs.files import layer_path
from bridge.picture import Pixels

ROWS_BYTES = 2**18
"""Bytes turned around and written at a time, while they are in the processor's cache."""


def write_layer(folder: Path, index: int, pixels: Pixels, channels: str) -> None:
    """Write a layer under a temporary name, renamed when whole. channels: RGBA or BGRA. Raises OutOfSpace."""
    write_whole(layer_path(folder, index), flat_rows(pixels, channels))


def flat_rows(pixels: Pixels, channels: str) -> Iterator[memoryview]:
    """The flat bytes of (h, w, n) `pixels`, some rows at a time; RGBA in the order of `channels`."""
    rows = max(1, ROWS_BYTES // (pixels.shape[1] * pixels.shape[2] * pixels.itemsize))
    for top in range(0, len(pixels), rows):
        some = np.ascontiguousarray(pixels[top : top + rows])
        if channels == "BGRA":
            some = np.asarray(cv2.cvtColor(some, cv2.COLOR_RGBA2BGRA))
        yield some.reshape(-1).view(np.uint8).data
