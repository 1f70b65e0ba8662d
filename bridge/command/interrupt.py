"""Ctrl+C as a wish to end tidily: the first asks, the second insists."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_stop() -> Generator[Callable[[], bool]]:
    """Gives a function that answers True after Ctrl+C or a polite kill within the block; a second one breaks off."""
    asked = threading.Event()

    def hear(number: int, _: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
