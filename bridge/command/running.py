"""The bridge that runs beside: what it says of itself, and how to stop it."""

import contextlib
import http.client
import json
import time
from pathlib import Path
from typing import Any

import psutil

from bridge.connection_file import Connection, read_connection
from bridge.errors import UnflattenError

CONFLICT = 409
PATIENCE = 5.0
OPENING = 60.0
"""Seconds; a backend that is asked for by name is looked at first, and a locked keyring may take its time."""
STOPPING = 30.0
"""Seconds; running jobs get ten of them to end."""


def ask(data: Path) -> dict[str, Any] | None:
    """What the running bridge tells of itself, or None where none runs."""
    card = read_connection(data)
    return _request(card, "GET", "/v1/status") if card else None


def open_fal_door(data: Path, *, port: int = 0, backend: str | None = None) -> dict[str, Any] | None:
    """Open the running bridge's fal door, where it is closed; where it is then, and its key. None: no bridge runs.

    port: 0 for any, or for the one that it is open on. Raises UnflattenError where it cannot be opened so.
    """
    card = read_connection(data)
    asked = {"port": port, "backend": backend}
    told = _request(card, "POST", "/v1/fal-door", asked, patience=OPENING) if card else None
    if told is not None and "code" in told:
        raise UnflattenError(told["message"], told["hint"], code=told["code"])
    return told


def stop(data: Path) -> bool:
    """Stop the bridge that serves `data` and wait until it is gone; False where none runs."""
    card = read_connection(data)
    if card is None or _request(card, "POST", "/v1/shutdown") is None:
        return False
    _wait_until_ended(card.pid)
    return True


def described(told: dict[str, Any] | None) -> str:
    """The same for people."""
    if told is None:
        return "The bridge is not running. Krita starts it when it needs it; so does “unflatten serve”."
    jobs = ", ".join(f"{count} {state}" for state, count in told["jobs"].items() if count) or "none"
    memory = sum(told["memory"].values()) / 2**20
    lines = [
        f"The bridge {told['version']} runs (process {told['pid']}), for {_duration(told['uptime'])}.",
        f"Jobs: {jobs}. Connected: {told['clients']}. Memory: {memory:.0f} MB.",
    ]
    door = told.get("fal_door", {})
    if door.get("open"):
        lines.append(f"The door for fal's clients is open at {door['url']}.")
    return "\n".join(lines)


def _wait_until_ended(pid: int) -> None:
    until = time.monotonic() + STOPPING
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # A zombie has ended: whoever started it has only not asked for its exit status yet, and perhaps never will.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(0.05)


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _request(
    card: Connection, method: str, path: str, content: dict[str, Any] | None = None, *, patience: float = PATIENCE
) -> dict[str, Any] | None:
    """The answer, or what the bridge says against it ({code, message, hint}); None where no bridge of ours answers."""
    connection = http.client.HTTPConnection("127.0.0.1", card.port, timeout=patience)
    body = None if content is None else json.dumps(content)
    try:
        connection.request(method, path, body, headers={"Authorization": f"Bearer {card.token}"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status < 300 or answer.status == CONFLICT else None
    except (OSError, http.client.HTTPException, ValueError):
        # Nobody listens there any more, or another program does.
        return None
    finally:
        connection.close()
