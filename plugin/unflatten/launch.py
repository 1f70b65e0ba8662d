"""Finds the running bridge, or starts it and waits until it answers. No Krita, no Qt: it runs in a thread."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .connection_file import Connection, data_dir, read_connection
from .errors import UnflattenError

# Seconds until a bridge that was started must answer.
READY_WITHIN = 30.0
START_LOG = "start.log"

# What Krita (an AppImage most of all) sets for its own Python and libraries, which would break another Python.
_KRITAS_OWN = (
    "PYTHON",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_",
    "QT_PLUGIN_PATH",
    "QML2_IMPORT_PATH",
    "SSL_CERT_",
    "VIRTUAL_ENV",
)
_CREATION_FLAGS = 0
if sys.platform == "win32":
    _CREATION_FLAGS = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP


@dataclass(frozen=True)
class Installation:
    """Which Python runs the bridge, and the folder where the bridge keeps its connection file."""

    python: str
    data: Path

    @staticmethod
    def read() -> Installation:
        """What install.py wrote beside the plugin. Raises UnflattenError.

        UNFLATTEN_HOME overrides the folder, as it does for the bridge.
        """
        try:
            told = json.loads((Path(__file__).parent / "bridge.json").read_text("utf-8"))
            python, data = str(told["python"]), Path(told["data"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UnflattenError(
                "Unflatten is only half installed: it does not know where its bridge is.",
                "Run “python3 install.py” again, then restart Krita.",
            ) from None
        return Installation(python, data_dir() if os.environ.get("UNFLATTEN_HOME") else data)

    def command(self) -> list[str]:
        """What starts the bridge."""
        return [self.python, "-m", "bridge.server"]

    def log(self) -> Path:
        """What the bridge said while it started."""
        return self.data / START_LOG


def find_or_start(installation: Installation, stopped: Callable[[], bool], starting: Callable[[], None]) -> Connection:
    """The connection of a bridge that listens. Where none does, `starting` is called and one is started.

    Raises UnflattenError when no bridge is ready within READY_WITHIN seconds, or once `stopped` is true.
    """
    found = running(installation.data)
    if found is not None:
        return found
    starting()
    process = start(installation)
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        if stopped():
            raise UnflattenError("Cancelled.", code="cancelled")
        found = running(installation.data)
        if found is not None:
            return found
        # Exit code 0 means that another Krita's bridge was faster: its connection file is about to appear.
        if process.poll():
            raise UnflattenError("The bridge that does the work could not start.", _why(installation))
        time.sleep(0.03)
    raise UnflattenError(
        f"The bridge that does the work was not ready within {READY_WITHIN:.0f} seconds.", _why(installation)
    )


def running(data: Path) -> Connection | None:
    """The connection of the bridge in `data`, if something listens there; else None.

    The process number in the file proves nothing: a killed bridge may be a zombie, its number may be another program's
    by now, or one outside of this sandbox. An open port does, and the token then shows whether it is the bridge.
    """
    found = read_connection(data)
    if found is None:
        return None
    try:
        socket.create_connection(("127.0.0.1", found.port), timeout=2).close()
    except OSError:
        return None
    return found


def start(installation: Installation) -> subprocess.Popen[bytes]:
    """Start the bridge as a process of its own: it serves every Krita of this user and may outlive this one.

    Raises UnflattenError.
    """
    try:
        installation.data.mkdir(parents=True, exist_ok=True)
        # a new file, so that no link is followed to another
        with suppress(FileNotFoundError):
            installation.log().unlink()
        with installation.log().open("xb") as log:
            process = subprocess.Popen(
                installation.command(),
                env={**clean_environment(dict(os.environ)), "UNFLATTEN_HOME": str(installation.data)},
                cwd=str(installation.data),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # its own session, or on Windows its own group without a console window
                start_new_session=True,
                creationflags=_CREATION_FLAGS,
            )
    except FileNotFoundError:
        raise UnflattenError(
            "The bridge that does the work is not where it was installed.",
            "Run “python3 install.py” again, then restart Krita.",
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise UnflattenError(
                "The disk is full, so the bridge that does the work cannot start.",
                f"Make some room where {installation.data} is, then try again.",
                "disk_full",
            ) from None
        raise UnflattenError(
            "The bridge that does the work could not be started.",
            f"{error.strerror or error}: {error.filename or installation.python}",
        ) from None
    # Waits for it, so that a bridge that ends before Krita does leaves no zombie behind.
    threading.Thread(target=process.wait, name="unflatten-wait", daemon=True).start()
    return process


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """`environment` without what Krita set for itself, which another Python must not see."""
    clean = {name: value for name, value in environment.items() if not name.upper().startswith(_KRITAS_OWN)}
    bundle = environment.get("APPDIR")
    if bundle and clean.get("PATH"):
        entries = clean["PATH"].split(os.pathsep)
        clean["PATH"] = os.pathsep.join(entry for entry in entries if not entry.startswith(bundle))
    return clean


def in_full(text: str, installation: Installation) -> str:
    """`text` with the commands in it as they run on this computer: “unflatten …” is on no PATH."""
    python = Path(installation.python)
    script = python.with_name("unflatten.exe" if sys.platform == "win32" else "unflatten")
    program = _quoted(script) if script.is_file() else f"{_quoted(python)} -m bridge.cli"
    # install.py stands beside the environment's folder.
    installer = python.parent.parent.parent / "install.py"
    text = re.sub("“unflatten( [^”]*)?”", lambda found: f"“{program}{found[1] or ''}”", text)
    if installer.is_file():
        text = text.replace("“python3 install.py", f"“python3 {_quoted(installer)}")
    return text


def _quoted(path: Path) -> str:
    return subprocess.list2cmdline([str(path)]) if sys.platform == "win32" else shlex.quote(str(path))


def _why(installation: Installation) -> str:
    last = _last_line(installation.log())
    advice = "Run “unflatten doctor” in a terminal, or “python3 install.py” again."
    return f"{advice} It said: {last}" if last else advice


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines else ""
