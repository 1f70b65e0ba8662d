"""The data folder, and the file in it by which clients find the running bridge.

Shared with the plugin, like protocol.py: standard library only, Python 3.9 and later.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

# Relative, because the plugin has it beside this file too.
from .atomic_text import write_text

CONNECTION_FILE = "bridge.json"
LONGEST = 65_536
"""Characters of it; no more are read."""


@dataclass(frozen=True)
class Connection:
    """Where the running bridge listens, and what lets a client in.

    token: 64 hexadecimal digits. started: seconds since the epoch.
    """

    port: int
    pid: int
    token: str
    version: str
    started: float


def data_dir() -> Path:
    """Where the bridge keeps its connection file, jobs, results and log. UNFLATTEN_HOME overrides it."""
    override = os.environ.get("UNFLATTEN_HOME")
    if override:
        return Path(override)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "unflatten"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "unflatten"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "unflatten"


def read_connection(folder: Path) -> Optional[Connection]:
    """What the connection file in `folder` says; None where there is none, it cannot be read, or is another user's."""
    try:
        with open(folder / CONNECTION_FILE, encoding="utf-8") as file:
            # who leads us to a bridge that is not ours would be sent our pictures
            if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            told = json.loads(file.read(LONGEST))
        token, version = str(told["token"]), str(told["version"])
        return Connection(int(told["port"]), int(told["pid"]), token, version, float(told["started"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def write_connection(folder: Path, connection: Connection) -> None:
    """Write the connection file in `folder` in one step, readable by its owner only. Raises OSError.

    A client that reads it meanwhile sees the whole new file or the whole old one.
    """
    write_text(folder / CONNECTION_FILE, json.dumps(asdict(connection)), 0o600)


def remove_connection(folder: Path, connection: Connection) -> None:
    """Remove the connection file from `folder`, if it still says `connection`."""
    if read_connection(folder) == connection:
        with suppress(OSError):
            (folder / CONNECTION_FILE).unlink()
