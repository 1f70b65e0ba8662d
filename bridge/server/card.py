"""The card in the data folder by which clients find the running bridge."""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bridge.protocol import DISCOVERY_FILE, Discovery


def write_card(folder: Path, card: Discovery) -> None:
    """Put the card there in one step, readable by its owner alone: a client sees the whole new one, or the old."""
    part = folder / f".{DISCOVERY_FILE}.{secrets.token_hex(4)}"
    try:
        with open(part, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(asdict(card), file)
        os.replace(part, folder / DISCOVERY_FILE)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def remove_card(folder: Path, card: Discovery) -> None:
    """Take the card away, if it is still this one."""
    if Discovery.read(folder) == card:
        with suppress(OSError):
            (folder / DISCOVERY_FILE).unlink()
