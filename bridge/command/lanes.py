"""How many pictures may be at a remote service at once: learned from what it takes, from 2 on."""

import threading
from typing import Literal

Pace = Literal["started", "queued", "refused"]

FIRST = 2
MOST = 64
SPARE = 2
"""The fewest that wait at the service beside those at work. As many again wait where more are at work: they end in
bursts, and what has to be sent first would leave the service idle."""


class Lanes:
    """Lanes are taken and left by threads.

    `limit` grows with every start while nothing waits or is refused, so that each round sends twice as many as the
    last. From the first wait or refusal on it is what the service has shown to take; one more is tried each time as
    many as there are lanes have started without a wait.
    """

    def __init__(self) -> None:
        self.limit = FIRST
        self._changed = threading.Condition()
        self._lanes: set[Lane] = set()
        self._settled = False
        self._ceiling = MOST
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
                    at_work = self._count("started")
                    self._settle(at_work + max(SPARE, at_work))
                case "refused":
                    self._ceiling = max(1, min(self.limit, self._count("started") + self._count("queued")))
                    self._settle(self._ceiling)
                case _:
                    pass
            self._changed.notify_all()

    def _start(self) -> None:
        self._calm += 1
        if not self._settled:
            self.limit = min(self.limit + 2, MOST)
        elif self._calm >= self.limit:
            self._calm = 0
            self.limit = min(self.limit + 1, MOST)
            self._ceiling = max(self._ceiling, self.limit)

    def _settle(self, limit: int) -> None:
        self._settled = True
        self._calm = 0
        self.limit = min(limit, self._ceiling)

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
