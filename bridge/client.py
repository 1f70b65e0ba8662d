"""The bridge that runs in the background: found, started where need be, asked, and stopped."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.connection_file import Connection, read_connection
from bridge.errors import UnflattenError
from bridge.files.disk import private
from bridge.own_files import claim

FAL_API = "fal_api"
"""What the bridge calls fal's API, in its status and in the address by which it is opened."""
CONFLICT = 409
PATIENCE = 5.0
OPENING = 60.0
"""Seconds; a backend that is asked for by name is looked at first."""
STOPPING = 30.0
"""Seconds; running jobs get ten of them to end."""
READY_WITHIN = 60.0
START_LOG = "start.log"


def status(data: Path) -> dict[str, Any] | None:
    """What the running bridge tells of itself; None where none runs."""
    connection = read_connection(data)
    return _request(connection, "GET", "/v1/status") if connection else None


def stop(data: Path) -> bool:
    """Stop the bridge that serves `data` and wait until it is gone; False where none runs."""
    connection = read_connection(data)
    if connection is None or _request(connection, "POST", "/v1/shutdown") is None:
        return False
    _wait_until_ended(connection.pid)
    return True


def open_fal_api(
    data: Path, *, port: int = 0, backend: str | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Have the running bridge open fal's API, where it is closed; where it is then, and its key. None: no bridge runs.

    port: 0 for any, or for the one that it is open on. Raises UnflattenError where it cannot be opened so.
    """
    connection = read_connection(data)
    if connection is None:
        return None
    asked: dict[str, Any] = {"port": port, "backend": backend}
    if options:
        asked["options"] = dict(options)
    told = _request(connection, "POST", f"/v1/{FAL_API.replace('_', '-')}", asked, patience=OPENING)
    if told is not None and "code" in told:
        raise UnflattenError(told["message"], told["hint"], code=told["code"])
    return told


def ensure_fal_api(data: Path) -> dict[str, Any]:
    """Where fal's API is open, and its key; opens it, and starts a bridge, where need be.

    Raises UnflattenError where it is not open within READY_WITHIN seconds.
    """
    told = open_fal_api(data)
    if told is not None:
        return told
    process = start(data)
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        told = open_fal_api(data)
        if told is not None:
            return told
        # Exit code 0 means that another bridge won the race: its connection file is about to appear.
        if process.poll():
            break
        time.sleep(0.05)
    raise UnflattenError(
        "The bridge that does the work could not start.", f"Run “unflatten doctor”. {_last_line(data)}".strip()
    )


def start(data: Path) -> subprocess.Popen[bytes]:
    """Start a bridge that outlives this command, as Krita does. Raises UnflattenError."""
    try:
        claim(data)
        (data / START_LOG).unlink(missing_ok=True)  # made anew: a link that lies there is not followed
        with open(data / START_LOG, "xb", opener=private) as log:
            return subprocess.Popen[bytes](
                # not from the current folder: it may hold a file that is called like one of ours
                [sys.executable, "-P", "-c", _SERVE, str(Path(__file__).parents[1])],
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


def _wait_until_ended(pid: int) -> None:
    import psutil

    until = time.monotonic() + STOPPING
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # A zombie has ended: whoever started it has only not asked for its exit status yet, and perhaps never will.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(0.05)


def _request(
    bridge: Connection, method: str, path: str, content: dict[str, Any] | None = None, *, patience: float = PATIENCE
) -> dict[str, Any] | None:
    """The answer, or what the bridge says against it ({code, message, hint}); None where no bridge of ours answers."""
    connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=patience)
    body = None if content is None else json.dumps(content)
    try:
        connection.request(method, path, body, headers={"Authorization": f"Bearer {bridge.token}"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status < 300 or answer.status == CONFLICT else None
    except (OSError, http.client.HTTPException, ValueError):
        # Nobody listens there any more, or another program does.
        return None
    finally:
        connection.close()
