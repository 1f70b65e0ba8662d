"""A lane's places: how many there are at a service is learned from what it takes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from bridge.backends import base
from bridge.jobs.lanes import AdaptiveLimit, Lane, Place

FIRST, MOST = base.AdaptiveLimit().first, base.AdaptiveLimit().most


@dataclass
class Jobs:
    """Jobs that want to be in one lane, all at once."""

    lane: Lane = field(default_factory=lambda: Lane("far", AdaptiveLimit(base.AdaptiveLimit()), changed=lambda: None))
    places: list[Place] = field(default_factory=list[Place])
    """Those that they hold, in the order in which they got them."""
    waiting: "set[asyncio.Task[None]]" = field(default_factory=set)
    leave: dict[str, asyncio.Event] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        return self.lane.limit.jobs

    async def come(self, count: int) -> list[Place]:
        """The places that so many more jobs get at once; the others wait."""
        before = len(self.places)
        for _ in range(count):
            name = str(len(self.leave))
            self.leave[name] = asyncio.Event()
            self.waiting.add(asyncio.create_task(self._hold(name)))
        await self._settle()
        return self.places[before:]

    async def end(self, place: Place) -> None:
        """Its job ends, and leaves its place to who waits."""
        self.places.remove(place)
        self.leave[place.job].set()
        await self._settle()

    async def _hold(self, name: str) -> None:
        async with self.lane.place(name, "client") as place:
            self.places.append(place)
            await self.leave[name].wait()

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    jobs = Jobs()
    yield jobs
    for task in jobs.waiting:
        task.cancel()
    await asyncio.gather(*jobs.waiting, return_exceptions=True)


async def started(jobs: Jobs, count: int) -> list[Place]:
    """So many that are at work."""
    at_work: list[Place] = []
    while len(at_work) < count:
        [place] = await jobs.come(1)
        place.hear("started")
        at_work.append(place)
    return at_work


async def test_two_at_first(jobs: Jobs) -> None:
    assert len(await jobs.come(5)) == FIRST == 2


async def test_each_round_is_twice_the_last_while_all_start_at_once(jobs: Jobs) -> None:
    rounds: list[int] = []
    free = await jobs.come(500)
    for _ in range(7):
        rounds.append(len(free))
        before = len(jobs.places)
        for place in free:
            place.hear("started")
        await jobs.come(0)
        free = jobs.places[before:]
    assert rounds[:5] == [2, 4, 8, 16, 32] and jobs.limit == MOST == len(jobs.places)


async def test_a_place_that_is_left_is_free_again(jobs: Jobs) -> None:
    first, _ = await jobs.come(4)
    await jobs.end(first)
    assert len(jobs.places) == 2 and first not in jobs.places


async def test_once_some_wait_as_many_wait_as_are_at_work_and_no_more(jobs: Jobs) -> None:
    await started(jobs, 10)
    for place in await jobs.come(50):
        place.hear("queued")
    assert jobs.limit == 20
    await jobs.come(0)
    for place in jobs.places[10:]:
        place.hear("queued")
    assert jobs.limit == 20


async def test_a_wait_before_anything_has_started_tells_nothing(jobs: Jobs) -> None:
    first, second = await jobs.come(2)
    first.hear("queued")
    assert jobs.limit == 2
    first.hear("started")
    second.hear("started")
    assert jobs.limit == 4, "by the one that started without a wait"


@pytest.mark.parametrize("at_work", [1, 2, 5, 12])
async def test_a_refusal_shrinks_to_what_was_taken(jobs: Jobs, at_work: int) -> None:
    await started(jobs, at_work)
    [refused] = await jobs.come(1)
    refused.hear("refused")
    refused.hear("refused")
    assert jobs.limit == at_work


async def test_never_less_than_one(jobs: Jobs) -> None:
    for place in await jobs.come(2):
        place.hear("refused")
    assert jobs.limit == 1


async def test_after_a_refusal_one_more_is_tried_now_and_then(jobs: Jobs) -> None:
    at_work = await started(jobs, 4)
    [refused] = await jobs.come(1)
    refused.hear("refused")
    await jobs.end(refused)
    limits: list[int] = []
    for _ in range(9):
        await jobs.end(at_work.pop())
        at_work += await started(jobs, 1)
        limits.append(jobs.limit)
    assert limits == [4, 4, 4, 5, 5, 5, 5, 5, 6]


async def test_waits_do_not_undo_what_a_refusal_has_taught(jobs: Jobs) -> None:
    await started(jobs, 4)
    [refused] = await jobs.come(1)
    refused.hear("refused")
    refused.hear("queued")
    assert jobs.limit == 4
