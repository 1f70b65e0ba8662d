"""The bridge that runs beside: what it says of itself, and how to stop it."""

import contextlib
import http.client
import json
import time
from pathlib import Path
from typing import Any

import psutil

from bridge.protocol import Discovery

PATIENCE = 5.0
STOPPING = 30.0
"""Seconds; running jobs get ten of them to end."""


def ask(data: Path) -> dict[str, Any] | None:
    """What the running bridge tells of itself, or None where none runs."""
    card = Discovery.read(data)
    return _request(card, "GET", "/v1/status") if card else None


def stop(data: Path) -> bool:
    """Stop the bridge that serves `data` and wait until it is gone; False where none runs."""
    card = Discovery.read(data)
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
    return (
        f"The bridge {told['version']} runs (process {told['pid']}), for {_duration(told['uptime'])}.\n"
        f"Jobs: {jobs}. Connected: {told['clients']}. Memory: {memory:.0f} MB."
    )


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


def _request(card: Discovery, method: str, path: str) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection("127.0.0.1", card.port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {card.token}"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status < 300 else None
    except (OSError, http.client.HTTPException, ValueError):
        # Nobody listens there any more, or another program does.
        return None
    finally:
        connection.close()
