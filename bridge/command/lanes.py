"""How many pictures may be at a remote service at once: learned from what it takes, from 2 on."""

import threading
from typing import Literal

Pace = Literal["started", "queued", "refused"]

FIRST = 2
MOST = 64
SPARE = 2
"""Pictures beyond those at work that wait at the service, so that it has the next one at hand."""


class Lanes:
    """Lanes are taken and left by threads. `limit` grows with every start while nothing waits or is refused: doubling
    with each round. From the first wait or refusal on it is what the service has shown to take, and one more is tried
    each time as many as there are lanes have started without a wait."""

    def __init__(self) -> None:
        self.limit = FIRST
        self._changed = threading.Condition()
        self._lanes: set[Lane] = set()
        self._settled = False
        self._calm = 0

    def take(self, patience: float) -> "Lane | None":
        """A lane, when one is free within `patience` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._lanes) < self.limit, patience):
                return None
            lane = Lane(self)
            self._lanes.add(lane)
            return lane

    def leave(self, lane: "Lane") -> None:
        with self._changed:
            self._lanes.discard(lane)
            self._changed.notify_all()

    def hear(self, lane: "Lane", pace: Pace) -> None:
        """What the service did with the picture in `lane`."""
        with self._changed:
            waited = lane.pace == "queued"
            lane.pace = pace
            match pace:
                case "started" if not waited:
                    self._start()
                case "started":
                    self._calm = 0
                case "queued" if self._count("started"):  # else it has begun with none: a slow morning tells nothing
                    self._settle(self._count("started") + SPARE)
                case "refused":
                    self._settle(self._count("started") + self._count("queued"))
                case _:
                    pass
            self._changed.notify_all()

    def _start(self) -> None:
        self._calm += 1
        if not self._settled or self._calm >= self.limit:
            self._calm = 0
            self.limit = min(self.limit + 1, MOST)

    def _settle(self, taken: int) -> None:
        self._settled = True
        self._calm = 0
        self.limit = min(self.limit, max(1, taken))

    def _count(self, pace: Pace) -> int:
        return sum(lane.pace == pace for lane in self._lanes)


class Lane:
    """One picture's place. pace: what was last heard of it."""

    def __init__(self, lanes: Lanes) -> None:
        self.pace: Pace | None = None
        self._lanes = lanes

    def hear(self, pace: Pace) -> None:
        self._lanes.hear(self, pace)

    def leave(self) -> None:
        self._lanes.leave(self)
