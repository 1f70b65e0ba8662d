"""Runs other programs: shown live in a terminal, kept quiet elsewhere unless they fail."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from installer.say import Failure
from installer.tie import tied

LINES_SHOWN = 25

# These would make another Python load the wrong packages: Krita's AppImage and activated environments set them.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PYTHONSTARTUP")


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead another Python astray."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def run(command: Sequence[object], what: str, next_step: str, *, cwd: Optional[Path] = None) -> None:
    """Run `command`; raises Failure with its last lines where it fails. `what` completes “… failed”."""
    words = [str(word) for word in command]
    live = sys.stdout.isatty()
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=None if live else subprocess.PIPE,
            stderr=None if live else subprocess.STDOUT,
            check=False,
            **tied(),
        )
    except OSError as problem:
        raise Failure(f"{what} failed: {problem}.", next_step) from None
    if done.returncode:
        told = "" if live else "\n" + "\n".join(done.stdout.decode("utf-8", "replace").splitlines()[-LINES_SHOWN:])
        raise Failure(f"{what} failed.{told}", next_step)


def answer(command: Sequence[object], seconds: float = 60) -> Optional[str]:
    """What `command` prints, or None where it cannot be run or fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
            **tied(),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
