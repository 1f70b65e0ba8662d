"""Pixels as bytes: Krita keeps 8-bit RGBA as blue, green, red, alpha. The standard library only."""

from dataclasses import dataclass
from typing import Union

Bytes = Union[bytes, bytearray, memoryview]
BYTES_PER_PIXEL = 4

# 64 pixels: small enough that one differing pixel costs little to look at, large enough that equal ones fly by.
_PIECE = 64 * BYTES_PER_PIXEL


def is_opaque(data: Union[bytes, bytearray]) -> bool:
    """Whether every pixel's alpha is full."""
    return data[3::4].count(255) * BYTES_PER_PIXEL == len(data)


@dataclass
class Difference:
    """How far two pictures lie apart: the largest difference of a channel, and how many pixels differ at all.

    Pixels that are fully transparent in both look the same whatever colour they hide, so they count as equal.
    """

    largest: int = 0
    pixels: int = 0

    def add(self, one: Bytes, other: Bytes) -> None:
        """Take two equally long runs of whole pixels into account."""
        if len(one) != len(other):
            raise ValueError("two pictures of different size are compared")
        one, other = bytes(one), bytes(other)
        for start in range(0, len(one), _PIECE):
            a, b = one[start : start + _PIECE], other[start : start + _PIECE]
            if a != b:
                self._look_closely(a, b)

    def _look_closely(self, a: bytes, b: bytes) -> None:
        if not any(a[3::4]) and not any(b[3::4]):
            return
        for at in range(0, len(a), BYTES_PER_PIXEL):
            p, q = a[at : at + BYTES_PER_PIXEL], b[at : at + BYTES_PER_PIXEL]
            if p != q and (p[3] or q[3]):
                self.pixels += 1
                self.largest = max(self.largest, *(abs(x - y) for x, y in zip(p, q)))
