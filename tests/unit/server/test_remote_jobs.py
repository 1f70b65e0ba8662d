"""Jobs that a remote service has: they outlive their client and the bridge, and serve whoever asks for the same."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.backends.fal.service import KEY, Fal, Reply, Service
from tests.unit.trial.client import new_job, noise
from tests.unit.trial.running import Bridge, Starter, wait_for

GRACE = 0.4


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(seconds=1.2) as running:
        yield running


@pytest.fixture
def fal(service: Service) -> Fal:
    return service.fal


@pytest.fixture
def begin(service: Service, start: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Bridge]:
    """Start a bridge that may send pictures to the service."""
    home = tmp_path / "data"
    home.mkdir()
    (home / "preferences.json").write_text('{"remote_allowed": true, "wall_clock": 20}')
    monkeypatch.setenv("UNFLATTEN_HOME", str(home))
    monkeypatch.setenv("UNFLATTEN_FAL_URL", service.url)
    monkeypatch.setenv("FAL_KEY", KEY)
    return lambda: start(home, grace=GRACE, drain=0.2)


PICTURE = noise(160, 120)
ASKED: dict[str, Any] = {"backend": "fal", "settings": {"num_layers": 3}}


def at_work(fal: Fal) -> bool:
    return any(order.state == "IN_PROGRESS" for order in fal.orders.values())


def kept(bridge: Bridge) -> int:
    import httpx

    told = httpx.get(
        f"http://127.0.0.1:{bridge.card.port}/v1/status", headers={"Authorization": f"Bearer {bridge.card.token}"}
    ).json()
    return told["jobs"]["kept"]


def flat(layers: dict[int, np.ndarray], stack: dict[str, Any]) -> np.ndarray:
    whole = np.zeros((*PICTURE.shape[:2], 3))
    for index, outline in enumerate(stack["layers"]):
        left, top, width, height = outline["rect"]
        area = whole[top : top + height, left : left + width]
        area += (layers[index][..., :3] - area) * (layers[index][..., 3:] / 255.0)
    return whole


def test_a_job_whose_client_leaves_goes_on_and_serves_the_next_who_asks_for_the_same(
    begin: Callable[[], Bridge], fal: Fal
) -> None:
    bridge = begin()
    with bridge.client() as client:
        client.start(PICTURE, **ASKED)
        wait_for(lambda: at_work(fal))
    time.sleep(GRACE + 0.3)
    assert not any(order.called_off for order in fal.orders.values())
    wait_for(lambda: kept(bridge) == 1)
    calls = len(fal.calls)
    with bridge.client() as client:
        result = client.split(PICTURE, **ASKED)
    assert result.kinds()[-1] == "done" and len(fal.calls) == calls, "all was here already"
    assert np.abs(flat(result.layers, result.last("stack")).round() - PICTURE[..., :3]).max() <= 1
    assert result.last("done")["report"]["cost"] == 0.05


def test_the_same_asked_for_while_it_is_under_way_is_told_of_it_and_served_by_it(
    begin: Callable[[], Bridge], fal: Fal
) -> None:
    bridge = begin()
    with bridge.client() as first, bridge.client() as second:
        one = first.start(PICTURE, **ASKED)
        wait_for(lambda: at_work(fal))
        two = second.start(PICTURE, **ASKED)
        assert first.finish(one).kinds()[-1] == "done"
        result = second.finish(two)
    assert result.kinds()[-1] == "done" and len(result.layers) == 3
    assert "fal is splitting the picture" in [each.get("stage") for each in result.messages]
    assert len(fal.orders) == 1


def test_who_has_had_it_and_asks_again_wants_another(begin: Callable[[], Bridge], fal: Fal) -> None:
    bridge = begin()
    with bridge.client() as client:
        assert client.split(PICTURE, **ASKED).kinds()[-1] == "done"
        assert client.split(PICTURE, **ASKED).kinds()[-1] == "done"
        assert client.split(PICTURE, **{**ASKED, "settings": {"num_layers": 2}}).kinds()[-1] == "done"
    assert len(fal.orders) == 3
    assert len({order.input["seed"] for order in fal.orders.values()}) == 3


def test_other_pictures_and_other_settings_are_other_jobs(begin: Callable[[], Bridge], fal: Fal) -> None:
    fal.seconds = 0.3
    bridge = begin()
    with bridge.client() as one, bridge.client() as two, bridge.client() as three:
        jobs = [
            (one, one.start(PICTURE, **ASKED)),
            (two, two.start(noise(160, 120, 2), **ASKED)),
            (three, three.start(PICTURE, **{**ASKED, "settings": {"num_layers": 3, "seed": 5}})),
        ]
        for client, job in jobs:  # a client each: which ends first is not said
            assert client.finish(job).kinds()[-1] == "done"
    assert len(fal.orders) == 3


def test_a_cancel_reaches_fal_and_says_what_becomes_of_it(begin: Callable[[], Bridge], fal: Fal) -> None:
    fal.seconds = 20
    bridge = begin()
    with bridge.client() as client:
        job = client.start(PICTURE, **ASKED)
        wait_for(lambda: at_work(fal))
        time.sleep(0.2)
        client.say("cancel", job=job)
        error = client.finish(job).last("error")
    assert error["code"] == "cancelled" and "may go on, and charge for it" in error["hint"]
    assert [order.called_off for order in fal.orders.values()] == [True]


def test_a_bridge_that_is_stopped_leaves_the_job_to_the_next(begin: Callable[[], Bridge], fal: Fal) -> None:
    fal.seconds = 2.5
    bridge = begin()
    with bridge.client() as client:
        job = client.start(PICTURE, **ASKED)
        wait_for(lambda: at_work(fal))
        bridge.process.send_signal(signal.SIGTERM)
        error = client.finish(job).last("error")
    assert error["code"] == "interrupted" and error["retryable"] and "not paid for twice" in error["hint"]
    bridge.process.wait(20)
    assert not any(order.called_off for order in fal.orders.values())
    with begin().client() as client:
        assert client.split(PICTURE, **ASKED).kinds()[-1] == "done"
    assert len(fal.orders) == 1


def test_a_result_that_nobody_was_there_to_take_waits_through_a_restart(begin: Callable[[], Bridge], fal: Fal) -> None:
    bridge = begin()
    with bridge.client() as client:
        client.start(PICTURE, **ASKED)
        wait_for(lambda: at_work(fal))
        os.kill(bridge.process.pid, signal.SIGKILL)
        bridge.process.wait(5)
    bridge = begin()
    wait_for(lambda: kept(bridge) == 1)
    with bridge.client() as client:
        assert client.split(PICTURE, **ASKED).kinds()[-1] == "done"
    assert len(fal.orders) == 1


def test_what_could_not_be_fetched_is_fetched_when_it_is_asked_for_again(begin: Callable[[], Bridge], fal: Fal) -> None:
    fal.seconds = 0.2
    bridge = begin()
    fal.script["media"] = [Reply(503, b"")] * 60
    with bridge.client() as client:
        error = client.split(PICTURE, **ASKED).last("error")
        assert error["code"] in ("connection", "overtime") and error["retryable"] and "not lost" in error["hint"]
        fal.script.clear()
        assert client.split(PICTURE, **ASKED).kinds()[-1] == "done"
    assert len(fal.orders) == 1


def test_without_leave_krita_is_told_how_to_give_it(begin: Callable[[], Bridge], fal: Fal) -> None:
    bridge = begin()
    (bridge.data / "preferences.json").write_text('{"backend": "fal"}')
    with bridge.client() as client:
        error = client.split(PICTURE, backend=None, settings={}).last("error")
        client.say("estimate", width=100, height=100, settings={}, backend=None)
        estimate = client.hear()
    assert error["code"] == "backend_unavailable" and "unflatten set remote-allowed yes" in error["hint"]
    assert estimate["type"] == "estimate" and estimate["dollars"] == 0.05
    assert fal.calls == []


def test_the_preferred_backend_serves_a_client_that_names_none(begin: Callable[[], Bridge], fal: Fal) -> None:
    bridge = begin()
    (bridge.data / "preferences.json").write_text('{"remote_allowed": true, "backend": "fal"}')
    with bridge.client() as client:
        assert client.split(PICTURE, backend=None, settings={"num_layers": 3}).kinds()[-1] == "done"
        client.say("backends")
        offered = {each["name"]: each for each in client.hear()["backends"]}
    assert len(fal.orders) == 1
    assert (
        offered["fal"]["default"] and not offered["builtin"]["default"] and offered["fal"]["cost"] == "$0.05 a picture"
    )


def test_neither_key_nor_prompt_nor_address_is_left_behind(begin: Callable[[], Bridge], fal: Fal) -> None:
    bridge = begin()
    fal.script["result"] = [Reply(500, {"detail": f"{KEY} mermaid"})] * 2
    with bridge.client() as client:
        settings = {"num_layers": 3, "prompt": "mermaid"}
        client.split(PICTURE, job=new_job(), backend="fal", settings=settings)
    bridge.stop()
    for file in bridge.data.rglob("*"):
        if file.is_file():
            left = file.read_bytes()
            assert KEY.encode() not in left, file
            assert file.suffix != ".log" or (b"mermaid" not in left and b"s3cr3t" not in left), file
