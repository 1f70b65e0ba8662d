"""Other processes by their numbers: whether one lives, is stopped, and when it began. A leaf."""

import sys
from pathlib import Path

_STATE, _BEGAN = 0, 19
"""Where a process's state, and the tick in which it began, stand in /proc/PID/stat behind its name."""


def is_alive(pid: int) -> bool:
    """Whether a process runs under that number. One that has ended, and that nobody has asked about yet, does not."""
    if sys.platform == "linux":
        return _stat(pid, _STATE) not in ("", "Z", "X")
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal. False where the system does not tell, or where it is gone."""
    if sys.platform == "linux":
        return _stat(pid, _STATE) == "T"
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def began(pid: int) -> str:
    """When it began, which tells it from a later process of that number; empty where there is none.

    On Linux in ticks since the computer's start, which stay what they are when the clock is set.
    """
    if sys.platform == "linux":
        return _stat(pid, _BEGAN)
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def _stat(pid: int, field: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[field]
    except (OSError, IndexError):
        return ""
