"""Checks the models' weights, which come with the project, against the sha256 pinned beside them."""

import hashlib
import json
from pathlib import Path

from installer.say import Failure


def verify(root: Path) -> int:
    """How many files of weights there are, all of them whole; raises Failure for one that is missing or changed."""
    count = 0
    for pins in sorted((root / "bridge").glob("backends/**/weights.json")):
        for name, pin in json.loads(pins.read_text("utf-8")).items():
            file = pins.parent / name
            if not file.is_file():
                raise Failure(f"{file} is missing.", "get a complete copy of Unflatten, then run this again.")
            if hashlib.sha256(file.read_bytes()).hexdigest() != pin["sha256"]:
                raise Failure(
                    f"{file} is damaged: it is not what Unflatten was published with.",
                    "get a fresh copy of Unflatten, then run this again.",
                )
            count += 1
    return count
