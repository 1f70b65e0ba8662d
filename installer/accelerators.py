"""Which accelerator this computer has, found without loading anything: by its tools, its device files, its drivers."""

import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from installer.run import answer
from installer.say import Failure


@dataclass(frozen=True)
class Accelerator:
    """fetched, kept: GB of packages to fetch, and on the disk."""

    name: str
    title: str
    fetched: float
    kept: float


ALL = (
    Accelerator("cuda", "NVIDIA GPU (CUDA)", 3.1, 7.5),
    Accelerator("rocm", "AMD GPU (ROCm)", 5.0, 16.0),
    Accelerator("xpu", "Intel GPU (XPU)", 2.5, 8.0),
    Accelerator("mps", "Apple's GPU (MPS)", 0.4, 1.5),
    Accelerator("cpu", "no accelerator", 0.5, 1.6),
)
"""What cuda, mps and cpu fetch is by their locks, on Linux or a Mac; the rest is about what their makers publish."""
NAMES = tuple(each.name for each in ALL)
OLDEST_DRIVER = 580
"""NVIDIA's driver for the CUDA 13 that torch is made for."""
GRAPHICS = Path("/sys/class/drm")
INTEL = "0x8086"
INTEGRATED = "0000:00:02.0"
"""Where Intel's integrated graphics sit on the bus; a card of its own sits elsewhere."""


def named(name: str) -> Accelerator:
    """The accelerator of that name, or for “auto” the one that is here. Raises Failure where there is none."""
    if name == "auto":
        name = find() or ""
    if not name:
        raise Failure(
            "No GPU was found that a model could use: neither NVIDIA's, AMD's with ROCm, Intel's nor Apple's.",
            f"if you have one, say which: install.py --gpu {'|'.join(NAMES[:-1])}. Without --gpu all else is set up.",
        )
    return next(each for each in ALL if each.name == name)


def find() -> Optional[str]:
    """The name of the accelerator that this computer has; None where it has none."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else None
    if has_nvidia():
        return "cuda"
    if sys.platform != "win32" and Path("/dev/kfd").exists() and (Path("/opt/rocm").exists() or _has_amd_memory()):
        return "rocm"
    return "xpu" if has_intel() else None


def has_nvidia() -> bool:
    """Is there a GPU of NVIDIA's with its driver?"""
    if answer(["nvidia-smi", "-L"], 20):
        return True
    if sys.platform == "win32":
        return _loads("nvcuda.dll")
    return Path("/dev/nvidia0").exists() or (Path("/dev/dxg").exists() and _loads("libcuda.so.1"))


def has_intel() -> bool:
    """Is there a GPU of Intel's that is more than what its processors have built in?"""
    if shutil.which("xpu-smi") and "Device ID" in (answer(["xpu-smi", "discovery"], 20) or ""):
        return True
    return any(vendor == INTEL and place != INTEGRATED for vendor, place in _cards())


def old_driver() -> Optional[int]:
    """The number of NVIDIA's driver where it is older than what torch needs; None where it is not, or not known."""
    told = answer(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], 20) or ""
    number = re.match(r"(\d+)\.", told)
    return int(number[1]) if number and int(number[1]) < OLDEST_DRIVER else None


def _cards() -> Iterator[tuple[str, str]]:
    """The vendor and place on the bus of each graphics card that Linux knows."""
    for card in sorted(GRAPHICS.glob("card[0-9]*")) if GRAPHICS.is_dir() else ():
        try:
            yield (card / "device" / "vendor").read_text("ascii").strip(), (card / "device").resolve().name
        except OSError:
            continue


def _has_amd_memory() -> bool:
    """Does the kernel's driver for computing name a GPU? It names processors too, which have no SIMD units."""
    nodes = Path("/sys/class/kfd/kfd/topology/nodes")
    for properties in nodes.glob("*/properties") if nodes.is_dir() else ():
        try:
            if re.search(r"^simd_count [1-9]", properties.read_text("ascii"), re.MULTILINE):
                return True
        except OSError:
            continue
    return False


def _loads(library: str) -> bool:
    import ctypes

    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
