"""How many pictures are sent at once: learned from what the service takes."""

import pytest
from bridge.command.lanes import FIRST, MOST, Lane, Lanes


def taken(lanes: Lanes) -> list[Lane]:
    """Every lane that is free."""
    found: list[Lane] = []
    while (lane := lanes.take(0)) is not None:
        found.append(lane)
    return found


def started(lanes: Lanes, count: int) -> list[Lane]:
    """So many that are at work."""
    at_work: list[Lane] = []
    while len(at_work) < count:
        lane = lanes.take(0)
        assert lane is not None
        lane.hear("started")
        at_work.append(lane)
    return at_work


def test_two_at_first() -> None:
    lanes = Lanes()
    assert len(taken(lanes)) == FIRST == 2
    assert lanes.take(0.01) is None


def test_each_round_is_twice_the_last_while_all_start_at_once() -> None:
    lanes = Lanes()
    rounds: list[int] = []
    for _ in range(7):
        free = taken(lanes)
        rounds.append(len(free))
        for lane in free:
            lane.hear("started")
    assert rounds[:5] == [2, 4, 8, 16, 32] and lanes.limit == MOST


def test_a_lane_that_is_left_is_free_again() -> None:
    lanes = Lanes()
    first, _ = taken(lanes)
    first.leave()
    assert lanes.take(0) is not None and lanes.take(0) is None


def test_once_some_wait_as_many_wait_as_are_at_work_and_no_more() -> None:
    lanes = Lanes()
    started(lanes, 10)
    for lane in taken(lanes):
        lane.hear("queued")
    assert lanes.limit == 20
    for lane in taken(lanes):
        lane.hear("queued")
    assert lanes.limit == 20


def test_a_wait_before_anything_has_started_tells_nothing() -> None:
    lanes = Lanes()
    first, second = taken(lanes)
    first.hear("queued")
    assert lanes.limit == 2
    first.hear("started")
    second.hear("started")
    assert lanes.limit == 4, "by the one that started without a wait"


@pytest.mark.parametrize("at_work", [1, 2, 5, 12])
def test_a_refusal_shrinks_to_what_was_taken(at_work: int) -> None:
    lanes = Lanes()
    started(lanes, at_work)
    refused = lanes.take(0)
    assert refused is not None
    refused.hear("refused")
    refused.hear("refused")
    assert lanes.limit == at_work


def test_never_less_than_one() -> None:
    lanes = Lanes()
    for lane in taken(lanes):
        lane.hear("refused")
    assert lanes.limit == 1


def test_after_a_refusal_one_more_is_tried_now_and_then() -> None:
    lanes = Lanes()
    at_work = started(lanes, 4)
    refused = lanes.take(0)
    assert refused is not None
    refused.hear("refused")
    refused.leave()
    limits: list[int] = []
    for _ in range(9):
        at_work.pop().leave()
        at_work += started(lanes, 1)
        limits.append(lanes.limit)
    assert limits == [4, 4, 4, 5, 5, 5, 5, 5, 6]


def test_waits_do_not_undo_what_a_refusal_has_taught() -> None:
    lanes = Lanes()
    started(lanes, 4)
    refused = lanes.take(0)
    assert refused is not None
    refused.hear("refused")
    refused.hear("queued")
    assert lanes.limit == 4
