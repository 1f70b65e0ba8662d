"""A bridge with an open fal door: the one that runs, or one that is started in the background."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bridge.command.running import open_fal_door
from bridge.errors import UnflattenError

READY_WITHIN = 60.0
START_LOG = "start.log"


def ensure_fal_door(data: Path) -> dict[str, Any]:
    """What the bridge tells of its open door, its key too; opens it, and starts a bridge, where need be.

    Raises UnflattenError where no door is open within READY_WITHIN seconds.
    """
    told = open_fal_door(data)
    if told is not None:
        return told
    process = _start(data)
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        told = open_fal_door(data)
        if told is not None:
            return told
        # Exit code 0 means that another bridge won the race: its card is about to appear.
        if process.poll():
            break
        time.sleep(0.05)
    raise UnflattenError(
        "The bridge that does the work could not start.", f"Run “unflatten doctor”. {_last_line(data)}".strip()
    )


def _start(data: Path) -> subprocess.Popen[bytes]:
    """Start a bridge that outlives this command, as Krita does."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(data / START_LOG, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            return subprocess.Popen[bytes](
                # not from the current folder: it may hold a file that is called like one of ours
                [sys.executable, "-P", "-c", _SERVE, str(Path(__file__).parents[2])],
                env={**os.environ, "UNFLATTEN_HOME": str(data.absolute())},
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_detached(),
            )
    except OSError as error:
        raise UnflattenError(
            f"The bridge that does the work could not be started: {error.strerror}.", "Run “unflatten doctor”."
        ) from None


_SERVE = "import sys; sys.path.append(sys.argv[1]); sys.argv[1:] = ['serve']; from bridge.cli import main; main()"


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _last_line(data: Path) -> str:
    try:
        lines = (data / START_LOG).read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return f"It said: {lines[-1].strip()[:300]}" if lines else ""
