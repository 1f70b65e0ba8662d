"""The second environment, in which models run: `.venv-gpu` beside this one, made by `install.py --gpu`."""

import json
import sys
from pathlib import Path
from typing import Any

from bridge.backends.placement import python_of

FOLDER = ".venv-gpu"
STAMP = "unflatten.json"
"""Written last by the installer: an environment without it was never finished."""
MAKE = "Run “python3 install.py --gpu” in Unflatten's folder."
"""What makes or mends it."""


def root() -> Path:
    """Where it is, or would be."""
    return Path(sys.prefix).parent / FOLDER


def python() -> Path | None:
    """Its Python; None where it is not there or not finished."""
    program = python_of(FOLDER)
    return program if _stamp() and program.is_file() else None


def accelerator() -> str:
    """What its packages were made for: cuda, rocm, xpu, mps or cpu; empty where it is not there or not finished."""
    return str(_stamp().get("accelerator", ""))


def _stamp() -> dict[str, Any]:
    try:
        told = json.loads((root() / STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}  # pyright: ignore[reportUnknownVariableType]
