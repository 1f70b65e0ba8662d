"""Pixels as bytes, in Krita's own colour models and depths. The standard library only."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from operator import sub
from typing import Union

from .protocol import DEPTHS, MODELS

Bytes = Union[bytes, bytearray, memoryview]

_FORMATS = {"U8": "B", "U16": "H", "F16": "e", "F32": "f"}
_OPAQUE = {"U8": b"\xff", "U16": b"\xff\xff", "F16": b"\x00\x3c", "F32": b"\x00\x00\x80\x3f"}
# How far a channel may be off before it is worth a word: a 255th, or in floating point 1e-4 of the value or the range.
_TOLERANCES = {"U8": 1.0, "U16": 257.0, "F16": 1e-4, "F32": 1e-4}
_RANGES = {"CMYKA": 100.0, "LABA": 128.0, "XYZA": 2.0}
# 64 pixels: small enough that one differing pixel costs little to look at, large enough that equal ones fly by.
_PIECE = 64


@dataclass(frozen=True)
class Space:
    """A colour model and a depth, by Krita's names."""

    model: str = "RGBA"
    depth: str = "U8"

    @property
    def channels(self) -> int:
        return MODELS[self.model] + 1

    @property
    def pixel_size(self) -> int:
        """Bytes of one pixel."""
        return self.channels * DEPTHS[self.depth]

    @property
    def order(self) -> str:
        """Krita keeps whole numbers of RGB as blue, green, red, alpha."""
        return "BGRA" if self.model == "RGBA" and self.depth in ("U8", "U16") else "RGBA"

    def is_opaque(self, data: bytes | bytearray) -> bool:
        """Whether every pixel's alpha is full. data: whole pixels."""
        full = _OPAQUE[self.depth]
        first = self.pixel_size - len(full)
        count = len(data) // self.pixel_size
        return all(data[first + at :: self.pixel_size].count(byte) == count for at, byte in enumerate(full))

    def values(self, data: Bytes) -> tuple[float, ...]:
        """The channels of whole pixels, one after the other."""
        return struct.unpack(f"<{len(data) // DEPTHS[self.depth]}{_FORMATS[self.depth]}", data)

    @property
    def tolerance(self) -> float:
        return _TOLERANCES[self.depth]

    def is_floating(self) -> bool:
        return self.depth in ("F16", "F32")

    @property
    def range(self) -> float:
        """What errors in floating point are measured by, at least."""
        return _RANGES.get(self.model, 1.0)


SRGB8 = Space()


class Difference:
    """How far two pictures lie apart: the largest difference of a channel, as parts of what is tolerated (above 1 it is
    worth a word), and how many pixels differ by more than that.

    Pixels that are fully transparent in both look the same whatever colour they hide, so they count as equal.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.pixels = 0
        self.largest = 0.0

    def add(self, one: Bytes, other: Bytes) -> None:
        """Take two equally long runs of whole pixels into account."""
        if len(one) != len(other):
            raise ValueError("two pictures of different size are compared")
        one, other = bytes(one), bytes(other)
        piece = _PIECE * self._space.pixel_size
        for start in range(0, len(one), piece):
            a, b = one[start : start + piece], other[start : start + piece]
            if a != b:
                self._look(self._space.values(a), self._space.values(b))

    def _look(self, a: tuple[float, ...], b: tuple[float, ...]) -> None:
        # In floating point Krita's own rounding differs all over: what is tolerated is looked at as a whole.
        furthest = max(map(abs, map(sub, a, b)))
        least = self._space.tolerance * (self._space.range if self._space.is_floating() else 1)
        if furthest <= least:  # not where it is “not a number”
            self.largest = max(self.largest, furthest / least)
        else:
            self._look_closely(a, b)

    def _look_closely(self, a: tuple[float, ...], b: tuple[float, ...]) -> None:
        count = self._space.channels
        for at in range(0, len(a), count):
            p, q = a[at : at + count], b[at : at + count]
            if p[-1] or q[-1]:
                apart = max(map(self._apart, p, q))
                self.pixels += apart > 1
                self.largest = max(self.largest, apart)

    def _apart(self, x: float, y: float) -> float:
        off = abs(x - y)
        if off != off:  # “not a number”, or infinite lights: the same in both is no difference
            return 0.0 if x == y or (x != x and y != y) else float("inf")
        if self._space.is_floating() and off:
            off /= max(self._space.range, abs(x))
        return off / self._space.tolerance
