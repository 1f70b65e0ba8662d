"""Checks the models' weights, which come with the project, against the sha256 pinned beside them.

Standard library only: install.py uses it before there is an environment.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

PINS = "weights.json"


@dataclass(frozen=True)
class Weights:
    """One file of weights. problem: a sentence, empty where the file is whole."""

    file: Path
    problem: str = ""


def check_weights(folder: Optional[Path] = None) -> list[Weights]:
    """Every file of weights that a weights.json in `folder` (every backend's) names, and whether it is what was
    published."""
    found: list[Weights] = []
    for pins in sorted((folder or Path(__file__).parent / "backends").glob(f"**/{PINS}")):
        for name, pin in json.loads(pins.read_text("utf-8")).items():
            file = pins.parent / name
            if not file.is_file():
                found.append(Weights(file, f"{file} is missing."))
            elif hashlib.sha256(file.read_bytes()).hexdigest() != pin["sha256"]:
                found.append(Weights(file, f"{file} is damaged: it is not what Unflatten was published with."))
            else:
                found.append(Weights(file))
    return found
