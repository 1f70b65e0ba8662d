"""One job without a daemon."""

import numpy as np
import pytest

from bridge.backends import base
from bridge.decompose import Finished, Planned, Report
from bridge.errors import BackendUnavailable, Cancelled
from bridge.jobs.local import offers, run_local
from bridge.picture import Picture
from bridge.settings import MAX_SEED, Settings
from tests.unit.trial.backends import Trial
from tests.unit.trial.client import noise


class Absent(Trial):
    name = "absent"

    def capabilities(self) -> base.Capabilities:
        return base.Capabilities(title="Absent", unavailable="It needs a key.", remedy="Get one.")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(base._REGISTRY)
    monkeypatch.setattr(base, "_REGISTRY", known)
    base.register("trial", "tests.unit.trial.backends:Trial")
    base.register("absent", f"{__name__}:Absent")
    base.register("broken", "no.such.module:Nothing")


def test_a_picture_becomes_layers_that_flatten_to_it() -> None:
    picture = noise(64, 48)
    steps = list(run_local(Picture(picture), Settings(num_layers=3, seed=5), "trial"))
    [plan] = [step for step in steps if isinstance(step, Planned)]
    layers = [step.layer for step in steps if isinstance(step, Finished)]
    assert tuple(layers) == plan.stack.layers
    bands = np.concatenate([layer.pixels for layer in layers[1:]])
    assert np.array_equal(bands, picture)
    assert isinstance(steps[-1], Report) and steps[-1].seed == 5 and steps[-1].max_error == 0


def test_a_seed_is_drawn_where_none_is_set() -> None:
    def seed() -> int:
        *_, report = run_local(Picture(noise(32, 32)), Settings(), "trial")
        assert isinstance(report, Report)
        return report.seed

    seeds = {seed() for _ in range(4)}
    assert len(seeds) == 4 and all(0 <= each <= MAX_SEED for each in seeds)


def test_cancelling_stops_at_the_next_step() -> None:
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        list(run_local(Picture(noise(32, 32)), Settings(prompt="slow 60"), "trial", cancelled=lambda: next(asked)))


def test_a_backend_that_cannot_run_says_why_before_any_work() -> None:
    with pytest.raises(BackendUnavailable, match="needs a key") as raised:
        next(run_local(Picture(noise(32, 32)), Settings(), "absent"))
    assert raised.value.hint == "Get one."


def test_one_broken_backend_does_not_hide_the_others() -> None:
    offered = {offer["name"]: offer for offer in offers()}
    assert offered["trial"]["unavailable"] == "" and offered["broken"]["unavailable"]
    assert [name for name, offer in offered.items() if offer["default"]] == [base.DEFAULT]
