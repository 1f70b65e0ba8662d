"""Ties the programs that the installer starts to it: pip must not go on where its install was killed."""

import contextlib
import os
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import Any, Callable, Optional

_SET_DEATH_SIGNAL = 1


def tied() -> dict[str, Any]:
    """What subprocess takes so that the program ends with this process, however this one ends. Linux promises that;
    elsewhere `ended_in_order` sees to it, as far as a kill can be heard."""
    death = _death_signal()
    return {} if death is None else {"preexec_fn": death}


def _death_signal() -> Optional[Callable[[], None]]:
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        prctl = ctypes.CDLL(None).prctl  # looked up before the fork: after it as little as can be is done
    except (OSError, AttributeError):
        return None
    parent = os.getpid()

    def tie() -> None:
        prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie


@contextlib.contextmanager
def ended_in_order() -> Generator[None, None, None]:
    """Within it a polite kill is what Ctrl+C is: subprocess ends what it has started, then this process ends."""

    def stop(number: int, _: Optional[FrameType]) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
