"""Kill −9 at any moment; `tests/bench/bench_remote.py --kills 200` is the long version."""

import random
from pathlib import Path

import pytest

from tests.unit.backends.fal import kills
from tests.unit.backends.fal.service import KEY, Service


@pytest.mark.slow
def test_nothing_is_submitted_twice_lost_or_shown_by_halves_wherever_the_bridge_is_killed(tmp_path: Path) -> None:
    with Service(seconds=0.3) as service:

        def begun(seed: int) -> int:
            return sum(order.input["seed"] == seed for order in list(service.fal.orders.values()))

        place = kills.Place(service.url, KEY, begun)
        tally = kills.run(15, tmp_path / "data", place, random.Random(4))
    print(*tally.lines(), sep="\n")
    assert (tally.twice, tally.lost, tally.halves, tally.problems) == (0, 0, 0, [])
    assert tally.done + tally.unclear == tally.kills
