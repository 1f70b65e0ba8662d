"""What a job tells those who listen to it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.errors import UnflattenError
from bridge.jobs.journal import Outline


@dataclass(frozen=True)
class Progressed:
    """A step of a stage is done. seconds_left: None where nobody can tell."""

    stage: str
    step: int
    steps: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Stacked:
    """The stack's outline, back to front, before its pixels."""

    width: int
    height: int
    layers: tuple[Outline, ...]


@dataclass(frozen=True)
class LayerReady:
    """A layer's pixels lie whole in the file `path`."""

    index: int
    outline: Outline
    path: Path


@dataclass(frozen=True)
class Done:
    """The job ended well."""

    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job ended without a result: failed, cancelled or interrupted."""

    error: UnflattenError


Event = Progressed | Stacked | LayerReady | Done | Failed
Listener = Callable[[str, Event], None]
"""Called with the job's id, in the server's thread; must not wait."""
