"""--gpu: says what is to be fetched, asks, and sets up what models on this computer's own GPU need."""

import os
import shutil
import sys
from pathlib import Path
from typing import Optional

from bridge.connection_file import data_dir
from installer import accelerators
from installer.accelerators import Accelerator
from installer.gpu_environment import GpuEnvironment
from installer.run import answer
from installer.say import Failure, heading, line

GB = 10**9
SEES = {
    "cuda": "torch.cuda.is_available()",
    "rocm": "torch.cuda.is_available()",
    "xpu": "torch.xpu.is_available()",
    "mps": "torch.backends.mps.is_available()",
    "cpu": "True",
}


def wished(root: Path, asked: Optional[str], yes: bool) -> Optional[GpuEnvironment]:
    """The environment to make or to update: the one asked for, where the user agrees, or else the one that is there.

    Raises Failure where there is nothing to ask the user by, no GPU, or no room on the disk.
    """
    there = GpuEnvironment.existing(root)
    if asked is None or (there and asked == "auto"):
        return there
    accelerator = accelerators.named(asked)
    if there and there.accelerator == accelerator:
        return there
    return GpuEnvironment(root, accelerator) if _agreed(root, accelerator, yes) else there


def set_up(environment: GpuEnvironment) -> None:
    """Make it or bring it up to date, and say what comes next."""
    heading("Models on this computer's own GPU")
    if not environment.up_to_date and (environment.folder / "pyvenv.cfg").is_file():
        line(f"They have changed, or were interrupted: up to {environment.size} are to be fetched.")
    changed = environment.make(dev=False)
    name = environment.accelerator.name
    if changed and answer([environment.python, "-c", f"import torch; print({SEES[name]})"], 120) != "True":
        line(f"torch does not see the {environment.accelerator.title} yet: its driver may be missing or too old.")
    line("Which models there are, and which fits this computer: “unflatten models”.")


def take_away(root: Path) -> None:
    """Remove the environment, and say which models stay."""
    there = GpuEnvironment.existing(root)
    environment = there or GpuEnvironment(root, accelerators.ALL[-1])
    if environment.remove():
        line(f"Removed {environment.title} ({environment.name}).")
    models = models_folder()
    size = _size(models)
    if size:
        line(f"Models stay in {models} ({size / GB:.1f} GB). Delete that folder if you want them gone too.")


def models_folder() -> Path:
    """Where models are kept, as the bridge has it."""
    override = os.environ.get("UNFLATTEN_MODELS")
    return Path(override) if override else data_dir() / "models"


def _agreed(root: Path, accelerator: Accelerator, yes: bool) -> bool:
    heading("Models on this computer's own GPU")
    line(f"For: {accelerator.title}.")
    old = accelerators.old_driver() if accelerator.name == "cuda" else None
    if old:
        line(f"NVIDIA's driver {old} is too old: torch needs {accelerators.OLDEST_DRIVER} or newer.")
    line(f"About {accelerator.fetched:g} GB of packages are to be fetched; they take {accelerator.kept:g} GB.")
    line("A model itself comes later, and only when you ask for it: 18 to 58 GB (“unflatten models”).")
    free = shutil.disk_usage(root).free / GB
    if free < accelerator.kept:
        raise Failure(
            f"That does not fit: {free:.1f} GB are free where Unflatten lies.",
            "free some space, or move Unflatten's folder to a larger disk, then run this again.",
        )
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty()):
        raise Failure("There is no terminal to ask you in whether so much may be fetched.", "add --yes, if it may.")
    agreed = input("  Fetch them? [y/N] ").strip().lower() in ("y", "yes")
    if not agreed:
        line("Left out, as you asked.")
    return agreed


def _size(folder: Path) -> int:
    found = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                found += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return found
