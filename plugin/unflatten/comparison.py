"""Whether the document still shows the picture that was sent."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from .canvas import BUDGET, Canvas, Reading
from .pixels import Difference


def compare(canvas: Canvas, sent: Sequence[Any]) -> Generator[None, None, Difference]:
    """Compare the picture, as it is now, with the strips that were sent, in small steps.

    When it returns, nothing is being painted, and nothing was painted since it looked.
    """
    while True:
        while canvas.has_unfinished_strokes():
            yield
        difference = Difference(canvas.space)
        painted = False
        for _ in _compare_once(canvas, sent, difference):
            yield
            painted = painted or canvas.has_unfinished_strokes()
        if not painted:
            return difference
        if difference.largest:
            while canvas.has_unfinished_strokes():
                yield
            return difference


def _compare_once(canvas: Canvas, sent: Sequence[Any], difference: Difference) -> Iterator[None]:
    reading = Reading(canvas)
    number = 0
    while not reading.finished:
        for strip in reading.strips(time.monotonic() + BUDGET):
            before = sent[number]
            number += 1
            # Qt compares at memory speed, and almost always finds the two equal.
            if strip != before:
                yield from _compare_slowly(difference, bytes(strip), bytes(before), canvas.space.pixel_size)
        if not reading.finished:
            yield


def _compare_slowly(difference: Difference, one: bytes, other: bytes, pixel_size: int) -> Iterator[None]:
    """Pixel by pixel, in runs that keep within the budget."""
    run = 2**16 * pixel_size
    end = time.monotonic() + BUDGET
    for start in range(0, len(one), run):
        difference.add(one[start : start + run], other[start : start + run])
        if time.monotonic() >= end:
            yield
            end = time.monotonic() + BUDGET
