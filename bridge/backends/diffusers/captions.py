"""Captions of pictures that were seen before, in the data folder: looking at a picture takes the model seconds."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bridge.atomic_text import write_text
from bridge.clock import now
from bridge.connection_file import data_dir

FILE = "captions.json"
MOST = 200
KEPT = 7 * 86_400.0
"""Seconds that a caption is kept after it was last of use: no longer than results are."""


def digest(pixels: bytes, model: str) -> str:
    """What a picture is known by: its pixels as the model sees them, and the model that looked at it."""
    return hashlib.sha256(model.encode() + b"\0" + pixels).hexdigest()


def find(key: str) -> str | None:
    """The caption of the picture of that digest."""
    known = _read()
    if key not in known:
        return None
    _write({**known, key: {**known[key], "used": now()}})
    return known[key]["caption"]


def keep(key: str, caption: str) -> None:
    """Remember a picture's caption, for the user's eyes alone; where it cannot be written, it is made again."""
    _write({**_read(), key: {"caption": caption, "used": now()}})


def _read() -> dict[str, dict[str, Any]]:
    try:
        told = json.loads((data_dir() / FILE).read_text("utf-8"))
        return {
            key: {"caption": str(each["caption"]), "used": float(each["used"])}
            for key, each in told.items()
            if float(each["used"]) > now() - KEPT
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(known: dict[str, dict[str, Any]]) -> None:
    latest = sorted(known, key=lambda key: known[key]["used"])[-MOST:]
    folder: Path = data_dir()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        write_text(folder / FILE, json.dumps({key: known[key] for key in latest}, ensure_ascii=False), 0o600)
    except OSError:
        return
