"""The time of day for everything that lasts: a leaf.

A clock that is set (by a user, by the network after a start without it) may jump by days. In a process's life that must
end nothing early and keep nothing for ever, so the clock is read once, and what goes on from there is steady.
"""

import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", None)


def steady() -> float:
    """Seconds since some moment, those that the computer slept included where the system tells them."""
    return time.monotonic() if _STEADY is None else time.clock_gettime(_STEADY)


_START = time.time() - steady()


def now() -> float:
    """Seconds since the epoch, as the clock stood when this process began, gone on steadily since."""
    return _START + steady()


def has_jumped(tolerance: float = 3600.0) -> bool:
    """Whether the clock was set by more than so many seconds since this process began."""
    return abs(time.time() - now()) > tolerance
