"""What this computer has free: asked of the accelerator's library in the worker, and guessed without it elsewhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from bridge.backends.diffusers.plan import Machine

MIB = 2**20
SHARED = 0.75
"""Of an Apple computer's memory, what its graphics may take."""
PATIENCE = 5.0
"""Seconds that a driver's own tool may take to answer."""


def ram_free() -> int:
    """Bytes of memory that can be had without swapping; no more than a container's limit leaves."""
    free = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text("ascii").strip()
        return min(free, int(limit) - int(used)) if limit.isdecimal() else free
    except (OSError, ValueError):
        return free


def guess(accelerator: str) -> Machine | None:
    """The machine, without loading torch; None where it cannot be told."""
    ram = ram_free()
    match accelerator:
        case "cpu":
            return Machine("cpu", ram, ram, shared=True)
        case "mps":
            free = min(ram, int(psutil.virtual_memory().total * SHARED))
            return Machine("mps", free, ram, shared=True, eight_bits=False)
        case "cuda":
            free = _nvidia_free()
        case "rocm":
            free = _amd_free()
        case _:
            free = None
    return None if free is None else Machine(accelerator, free, ram)


def _nvidia_free() -> int | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits", "--id=0"]
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0) if sys.platform == "win32" else 0
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=True, creationflags=hidden
        ).stdout
        return int(told.split()[0]) * MIB
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _amd_free() -> int | None:
    found: list[int] = []
    for total in Path("/sys/class/drm").glob("card*/device/mem_info_vram_total"):
        try:
            used = total.with_name("mem_info_vram_used").read_text("ascii")
            found.append(int(total.read_text("ascii")) - int(used))
        except (OSError, ValueError):
            continue
    return max(found, default=None)
