"""A model that stays loaded: for how long, when it goes before, and what is shown while it works."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.trial.backends import MEMORY_WANTED, notes
from tests.unit.trial.client import noise
from tests.unit.trial.running import Bridge, Starter, wait_for

PICTURE = noise(64, 64)
AGES = 600.0


@pytest.fixture
def begin(start: Starter, tmp_path: Path) -> Callable[..., Bridge]:
    """Start a bridge whose user has decided those options of the backend on the graphics card."""

    def begin(*, grace: float = 10.0, **options: Any) -> Bridge:
        data = tmp_path / "data"
        data.mkdir()
        (data / "preferences.json").write_text(json.dumps({"backends": {"graphics": options}}))
        return start(data, grace=grace)

    return begin


def split_on_the_card(bridge: Bridge, seed: int = 1) -> None:
    """One picture, by a client that comes and goes for it."""
    with bridge.client() as client:
        assert client.split(noise(64, 64, seed), backend="graphics").kinds()[-1] == "done"


def loaded(bridge: Bridge) -> int:
    """How often the model was loaded."""
    return len(notes(bridge.data, "opened"))


def workers(bridge: Bridge) -> int:
    """One finishes; one more where a model is loaded."""
    return len(bridge.children())


def test_it_stays_loaded_in_its_lane_and_goes_after_its_keep_alive(begin: Callable[..., Bridge]) -> None:
    bridge = begin(keep_alive=1)
    with bridge.client():
        for seed in range(3):
            split_on_the_card(bridge, seed)
        assert (loaded(bridge), workers(bridge)) == (1, 2)
        wait_for(lambda: workers(bridge) == 1)
        split_on_the_card(bridge)
        assert loaded(bridge) == 2


def test_it_stays_without_clients_where_nothing_else_is_decided(begin: Callable[..., Bridge]) -> None:
    bridge = begin(keep_alive=AGES)
    for seed in range(2):
        split_on_the_card(bridge, seed)
    assert (loaded(bridge), workers(bridge)) == (1, 2)


def test_it_goes_with_the_last_client_where_that_is_decided(begin: Callable[..., Bridge]) -> None:
    bridge = begin(keep_alive=AGES, leaves_with_client=True)
    with bridge.client() as last:
        for seed in range(2):
            split_on_the_card(bridge, seed)
        assert last.split(noise(64, 64, 3), backend="graphics").kinds()[-1] == "done"
        assert (loaded(bridge), workers(bridge)) == (1, 2), "another client is there still"
    wait_for(lambda: workers(bridge) == 1)
    split_on_the_card(bridge, 4)
    assert loaded(bridge) == 2


def test_it_goes_after_the_job_that_the_last_client_left_behind(begin: Callable[..., Bridge]) -> None:
    bridge = begin(grace=0.3, keep_alive=AGES, leaves_with_client=True)
    with bridge.client() as client:
        job = client.start(PICTURE, backend="graphics", prompt="slow 60")
        wait_for(lambda: client.hear().get("stage") == "Beginning")
        wait_for(lambda: workers(bridge) == 2)
    wait_for(lambda: f"job {job} cancelled" in bridge.log)
    wait_for(lambda: workers(bridge) == 1)


def test_it_stays_after_a_job_whose_client_came_back(begin: Callable[..., Bridge]) -> None:
    bridge = begin(keep_alive=AGES, leaves_with_client=True)
    with bridge.client() as client:
        job = client.start(PICTURE, backend="graphics", prompt="slow 1")
        wait_for(lambda: client.hear().get("stage") == "Beginning")
    with bridge.client() as client:
        client.say("attach", job=job)
        assert client.finish(job).kinds()[-1] == "done"
        assert client.split(noise(64, 64, 2), backend="graphics").kinds()[-1] == "done"
        assert loaded(bridge) == 1


def test_it_goes_where_another_program_needs_its_memory(begin: Callable[..., Bridge]) -> None:
    bridge = begin(keep_alive=AGES)
    with bridge.client() as client:
        assert client.split(PICTURE, backend="graphics").kinds()[-1] == "done"
        (bridge.data / MEMORY_WANTED).touch()
        wait_for(lambda: workers(bridge) == 1)
        (bridge.data / MEMORY_WANTED).unlink()
        assert client.split(noise(64, 64, 2), backend="graphics").kinds()[-1] == "done"
    assert (loaded(bridge), workers(bridge)) == (2, 2)


def test_previews_are_for_those_who_asked_for_them(shared_bridge: Bridge) -> None:
    with shared_bridge.client(hello={"protocol": 1, "previews": True}) as client:
        result = client.split(PICTURE, prompt="preview")
        [preview] = result.previews
        assert np.array_equal(preview, [PICTURE[:3, :5], PICTURE[3:6, :5]]), "two pictures, back to front"
        kinds = result.kinds()
        assert kinds.index("preview") < kinds.index("stack") and kinds[-1] == "done" and len(result.layers) == 5


@pytest.mark.parametrize("hello", [{}, {"previews": False}, {"previews": "yes"}])
def test_others_get_no_previews(shared_bridge: Bridge, hello: dict[str, Any]) -> None:
    picture = noise(64, 64, 2 + len(str(hello)))  # no two alike: what was made before would serve again
    with shared_bridge.client(hello={"protocol": 1, **hello}) as client:
        result = client.split(picture, prompt="preview")
    assert "preview" not in result.kinds() and result.kinds()[-1] == "done" and len(result.layers) == 5
