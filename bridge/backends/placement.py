"""Where a backend's jobs run, and how many at a time: standard library only, so that a worker can be started before
anything else is loaded."""

from dataclasses import dataclass

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
    keep_alive: seconds that a loaded model outlives its last job. cancel_patience: seconds that a cancelled job gets to
    end in order; then its worker is ended, or its service is left to itself.
    """

    lane: str
    limit: FixedLimit | AdaptiveLimit = FixedLimit()
    leaves_computer: bool = False
    keep_alive: float = 60.0
    cancel_patience: float = 3.0
