"""Lanes: jobs of one resource. Who runs when, and how many at a time."""

import asyncio
import heapq
import itertools
import sys
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.backends import base
from bridge.backends.base import Pace, Placement


class FixedLimit:
    """So many at a time."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def hear(self, place: "Place", pace: Pace, places: "set[Place]") -> None:
        """Nothing is learned."""


class AdaptiveLimit:
    """As many as the service shows to take.

    `jobs` grows with every start while nothing waits or is refused, so that each round sends twice as many as the last.
    From the first wait or refusal on it is what the service has shown to take; one more is tried each time as many as
    there are places have started without a wait (additive increase, as in TCP's congestion avoidance).
    """

    def __init__(self, limit: base.AdaptiveLimit) -> None:
        self.jobs = limit.first
        self._most = limit.most
        self._spare = limit.spare
        self._settled = False
        self._ceiling = limit.most
        self._calm = 0

    def hear(self, place: "Place", pace: Pace, places: "set[Place]") -> None:
        """What the service did with the job in `place`; `places` are all that are held."""
        waited = place.pace == "queued"
        place.pace = pace
        at_work = sum(each.pace == "started" for each in places)
        if pace == "started" and waited:
            self._calm = 0
        elif pace == "started":
            self._start()
        elif pace == "queued" and at_work:  # else it has begun with none: a slow morning tells nothing
            # as many again wait where more are at work: they end in bursts, and the service would be left idle
            self._settle(at_work + max(self._spare, at_work))
        elif pace == "refused":
            self._ceiling = max(1, min(self.jobs, at_work + sum(each.pace == "queued" for each in places)))
            self._settle(self._ceiling)

    def _start(self) -> None:
        self._calm += 1
        if not self._settled:
            self.jobs = min(self.jobs + 2, self._most)
        elif self._calm >= self.jobs:
            self._calm = 0
            self.jobs = min(self.jobs + 1, self._most)
            self._ceiling = max(self._ceiling, self.jobs)

    def _settle(self, jobs: int) -> None:
        self._settled = True
        self._calm = 0
        self.jobs = min(jobs, self._ceiling)


@dataclass(eq=False)
class Place:
    """One job's place in a lane. pace: what was last heard of it."""

    job: str
    lane: "Lane" = field(repr=False)
    pace: Pace | None = None

    def hear(self, pace: Pace) -> None:
        """Let the lane's limit learn from what the service did."""
        self.lane.hear(self, pace)


@dataclass(frozen=True, eq=False)
class Waiting:
    """A job that waits for a place. first: it goes before the others of its kind, since most of its work is done."""

    job: str
    client: str
    batch: bool
    first: bool
    number: int
    granted: asyncio.Future[Place]


class Lane:
    """Interactive jobs go before batch. Within each kind the client served longest ago comes next, with its oldest job:
    one artist's thirty pictures do not keep another's single one waiting."""

    def __init__(self, name: str, limit: FixedLimit | AdaptiveLimit, *, changed: Callable[[], None]) -> None:
        """changed: called when someone's turn has come nearer."""
        self.name = name
        self.limit = limit
        self._changed = changed
        self._waiting: dict[str, Waiting] = {}
        self._places: set[Place] = set()
        self._served: dict[str, int] = {}
        self._arrivals = itertools.count()
        self._turns = itertools.count(1)

    @property
    def busy(self) -> int:
        """How many places are held."""
        return len(self._places)

    @asynccontextmanager
    async def place(
        self, job: str, client: str, *, batch: bool = False, first: bool = False
    ) -> AsyncGenerator[Place, None]:
        """Wait for a place, and hold it."""
        waiting = Waiting(job, client, batch, first, next(self._arrivals), asyncio.get_running_loop().create_future())
        self._waiting[job] = waiting
        self._grant()
        self._changed()
        try:
            place = await waiting.granted
        except asyncio.CancelledError:
            self._waiting.pop(job, None)
            if waiting.granted.done() and not waiting.granted.cancelled():
                self._leave(waiting.granted.result())
            else:
                self._changed()
            raise
        try:
            yield place
        finally:
            self._leave(place)

    def hear(self, place: Place, pace: Pace) -> None:
        self.limit.hear(place, pace, self._places)
        self._grant()

    def position(self, job: str, client: str, *, batch: bool) -> int:
        """How many go before a job that waits here, or would now come to wait."""
        newcomer = Waiting(job, client, batch, False, sys.maxsize, asyncio.Future())
        everyone = [*self._waiting.values(), *([] if job in self._waiting else [newcomer])]
        return self._ordered(everyone).index(job) + self.busy

    def order(self) -> list[str]:
        """The waiting jobs in the order in which they would be served."""
        return self._ordered(self._waiting.values())

    def _ordered(self, waiting: Iterable[Waiting]) -> list[str]:
        served = dict(self._served)
        turns = itertools.count(max(served.values(), default=0) + 1)
        order: list[str] = []
        kinds: defaultdict[tuple[bool, bool], list[Waiting]] = defaultdict(list)
        for each in waiting:
            kinds[each.batch, not each.first].append(each)
        for kind in sorted(kinds):
            queues: defaultdict[str, deque[Waiting]] = defaultdict(deque)
            for each in kinds[kind]:
                queues[each.client].append(each)
            heap = [(served.get(client, 0), queue[0].number, client) for client, queue in queues.items()]
            heapq.heapify(heap)
            while heap:
                _, _, client = heapq.heappop(heap)
                order.append(queues[client].popleft().job)
                served[client] = next(turns)
                if queues[client]:
                    heapq.heappush(heap, (served[client], queues[client][0].number, client))
        return order

    def _grant(self) -> None:
        while len(self._places) < self.limit.jobs:
            # one that was cancelled a moment ago may still stand there
            able = [each for each in self._waiting.values() if not each.granted.done()]
            if not able:
                break
            waiting = min(
                able, key=lambda each: (each.batch, not each.first, self._served.get(each.client, 0), each.number)
            )
            del self._waiting[waiting.job]
            self._served[waiting.client] = next(self._turns)
            place = Place(waiting.job, self)
            self._places.add(place)
            waiting.granted.set_result(place)
        if not self._waiting:
            self._served.clear()

    def _leave(self, place: Place) -> None:
        self._places.discard(place)
        self._grant()
        self._changed()


class Scheduler:
    """All lanes of an engine; each is made when its first job comes. cpu: jobs at a time in the processor's lane."""

    def __init__(self, *, cpu: int = 1, changed: Callable[[Lane], None] = lambda lane: None) -> None:
        self._cpu = cpu
        self._changed = changed
        self._lanes: dict[str, Lane] = {}

    def lane(self, placement: Placement) -> Lane:
        """The lane of that placement."""
        if placement.lane not in self._lanes:
            limit = placement.limit
            state = AdaptiveLimit(limit) if isinstance(limit, base.AdaptiveLimit) else FixedLimit(limit.jobs)
            self._add(placement.lane, FixedLimit(self._cpu) if placement.lane == base.CPU else state)
        return self._lanes[placement.lane]

    @property
    def cpu(self) -> Lane:
        """The processor's lane, where layers are finished."""
        return self.lane(Placement(base.CPU))

    def _add(self, name: str, limit: FixedLimit | AdaptiveLimit) -> None:
        lane = Lane(name, limit, changed=lambda: self._changed(lane))
        self._lanes[name] = lane
