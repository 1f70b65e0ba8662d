"""A picture on its way from Krita's main thread to the thread that sends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .errors import Stopped

# Seconds between two looks at whether anybody still waits.
_POLL = 0.1


class Upload:
    """The pieces of the picture's pixels, top to bottom, then those of its 8-bit sRGB view.

    Added by the main thread, awaited by the connection's. Before the first comes the ICC profile, empty for sRGB.
    """

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self._profile: bytes | None = None
        self._arrival = threading.Condition()

    def begin(self, profile: bytes) -> None:
        """Set the ICC profile."""
        with self._arrival:
            self._profile = profile
            self._arrival.notify_all()

    def add(self, piece: Any) -> None:
        """Add a piece: anything that a memoryview can be made of."""
        with self._arrival:
            self.pieces.append(piece)
            self._arrival.notify_all()

    def profile(self, stopped: Callable[[], bool]) -> bytes:
        """Wait for the ICC profile. Raises Stopped."""
        self._await(lambda: self._profile is not None, stopped)
        return self._profile or b""

    def get(self, number: int, stopped: Callable[[], bool]) -> Any:
        """Wait for a piece. Raises Stopped."""
        self._await(lambda: len(self.pieces) > number, stopped)
        return self.pieces[number]

    def _await(self, arrived: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        with self._arrival:
            while not arrived():
                if stopped():
                    raise Stopped
                self._arrival.wait(_POLL)
