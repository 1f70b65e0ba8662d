"""Large arrays whose rows are given back to the system as soon as they have been copied elsewhere.

A picture may fill a quarter of a computer's memory: where it must be copied, both copies together must not need twice
as much.
"""

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from bridge.files.colour import Samples

AT_ONCE = 2**21
"""Pixels that are copied at a time."""
_GIVEN_BACK: int | None = getattr(mmap, "MADV_DONTNEED", None)


def room(shape: tuple[int, int, int], dtype: Any = np.uint8) -> Samples:
    """Zeros. `copied` gives their rows back; Windows keeps them until nobody has the array."""
    if _GIVEN_BACK is None:
        return np.zeros(shape, dtype)
    count = math.prod(shape)
    nbytes = max(1, count * np.dtype(dtype).itemsize)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype, count).reshape(shape)


def strips(samples: Samples) -> Iterator[slice]:
    """Rows of (H, W, n) samples, some at a time."""
    step = max(1, AT_ONCE // samples.shape[1])
    for top in range(0, samples.shape[0], step):
        yield slice(top, min(top + step, samples.shape[0]))


def copied(samples: Samples) -> Iterator[slice]:
    """The same; what lies in `room` is lost for whoever asks for the next rows."""
    memory = _memory_of(samples)
    start = samples.__array_interface__["data"][0]
    given = 0
    for rows in strips(samples):
        yield rows
        if memory is None:
            continue
        within = start - np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
        end = (within + rows.stop * samples.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > given:
            memory.madvise(_GIVEN_BACK or 0, given, end - given)
            given = end


def _memory_of(samples: Samples) -> mmap.mmap | None:
    """The memory of an array made by `room`, or of its first channels; None where it is another's."""
    base: Any = samples
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    one_row = samples.shape[1] * abs(samples.strides[1])
    return base if isinstance(base, mmap.mmap) and samples.strides[0] >= one_row else None
