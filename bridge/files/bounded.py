"""A file of which no more is read than a picture needs, so that no file can fill the memory or take for ever."""

import io
import os
from typing import BinaryIO

from bridge.errors import BadPicture

MANY_READS = 300_000
"""Reads that opening one picture may take: a file of nothing but tiny pieces needs more."""


class Bounded(io.RawIOBase):
    """Reads `file` for a decoder, at most `budget` bytes in all; `allow` gives more of them. Raises BadPicture."""

    def __init__(self, file: BinaryIO, budget: int, name: str) -> None:
        super().__init__()
        self._file = file
        self._left = budget
        self._reads = MANY_READS
        self._name = name

    def allow(self, budget: int) -> None:
        """From here on `budget` bytes may be read."""
        self._left = budget

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left + 1 if size is None or size < 0 else size
        self._reads -= 1
        if self._reads < 0 or min(wanted, self._left + 1) < 0:
            raise self._too_much()
        data = self._file.read(min(wanted, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise self._too_much()
        return data

    def _too_much(self) -> BadPicture:
        return BadPicture(
            f"{self._name} holds much more than a picture of its size, or is damaged.",
            "Open it in Krita, export it as PNG, and try that.",
        )


def size_of(file: BinaryIO) -> int:
    """Bytes of the whole file; it is at its beginning afterwards."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size
