"""Where a backend's jobs run, and how many at a time: standard library only, so that a worker can be started before
anything else is loaded."""

import sys
from dataclasses import dataclass
from pathlib import Path

CPU = "cpu"
"""The lane of this computer's processor."""


@dataclass(frozen=True)
class FixedLimit:
    """So many jobs run in a lane at a time."""

    jobs: int = 1


@dataclass(frozen=True)
class AdaptiveLimit:
    """As many jobs run in a lane as its service shows to take, learned from `Paced` progress.

    first: jobs at the start; most: jobs at any time; spare: the fewest that wait at the service beside those at work.
    """

    first: int = 2
    most: int = 64
    spare: int = 2


@dataclass(frozen=True)
class Placement:
    """Where a backend's jobs run.

    lane: "cpu", "gpu:0", or a service's name. leaves_computer: whether pictures are sent away, for privacy and price.
    keep_alive: seconds that a loaded model outlives its last job; leaves_with_client: whether it goes before, once no
    client is there. cancel_patience: seconds that a cancelled job gets to end in order; then its worker is ended, or
    its service is left to itself. environment: the folder of the Python environment that its workers run in, beside
    the bridge's own; empty: the bridge's own.
    """

    lane: str
    limit: FixedLimit | AdaptiveLimit = FixedLimit()
    leaves_computer: bool = False
    keep_alive: float = 60.0
    leaves_with_client: bool = False
    cancel_patience: float = 3.0
    environment: str = ""


def python_of(environment: str) -> Path:
    """The Python of the environment in the folder of that name, beside the one that this process runs in; whether it
    is there is not asked. Empty: this process's own."""
    if not environment:
        return Path(sys.executable)
    folder = Path(sys.prefix).parent / environment
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"
