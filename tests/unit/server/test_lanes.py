"""Lanes: what waits elsewhere holds up nothing here; and backends that were added from outside."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trial.backends import notes
from tests.unit.trial.client import Client, noise
from tests.unit.trial.running import Bridge, Starter, wait_for

PICTURE = noise(64, 64)


@pytest.fixture
def begin(start: Starter, tmp_path: Path) -> Callable[..., Bridge]:
    """Start a bridge that may send pictures away."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "preferences.json").write_text('{"remote_allowed": true}')
    return lambda **settings: start(data, **settings)


@pytest.fixture
def bridge(begin: Callable[..., Bridge]) -> Bridge:
    return begin()


@pytest.fixture
def client(bridge: Bridge) -> Iterator[Client]:
    with bridge.client() as connected:
        yield connected


def elsewhere(seconds: float, **options: Any) -> dict[str, Any]:
    return {"backend": "elsewhere", "options": {"seconds": seconds, **options}}


def at_work(client: Client, job: str) -> None:
    """Return once the service splits the job's picture."""
    for message, _ in client.follow(job):
        assert message["type"] != "error", message
        if message.get("stage") == "Splitting elsewhere":
            return


def test_a_job_here_does_not_wait_for_one_elsewhere(bridge: Bridge, client: Client) -> None:
    with bridge.client() as other:
        remote = other.start(PICTURE, **elsewhere(60))
        at_work(other, remote)
        kinds = client.split(PICTURE).kinds()
        assert kinds[-1] == "done" and "Waiting" not in str(kinds)
        other.say("cancel", job=remote)
        assert other.finish(remote).messages[-1]["code"] == "cancelled"


def test_two_elsewhere_and_one_here_go_on_at_once(bridge: Bridge) -> None:
    with bridge.client() as one, bridge.client() as two, bridge.client() as three:
        far = [(each, each.start(noise(64, 64, seed), **elsewhere(1))) for seed, each in enumerate((one, two), 1)]
        for each, job in far:
            at_work(each, job)
        near = three.start(PICTURE, prompt="slow 0.5")
        assert three.finish(near).kinds()[-1] == "done"
        assert [each.finish(job).kinds()[-1] for each, job in far] == ["done", "done"]


def test_who_waits_for_the_same_and_is_cancelled_hears_no_more_of_it(bridge: Bridge, client: Client) -> None:
    with bridge.client() as other:
        job = client.start(PICTURE, **elsewhere(1))
        at_work(client, job)
        waiting = other.start(PICTURE, **elsewhere(1))
        at_work(other, waiting)
        other.say("cancel", job=waiting)
        assert other.finish(waiting).messages[-1]["code"] == "cancelled"
        assert client.finish(job).kinds()[-1] == "done"
        other.say("estimate", backend="trial", width=64, height=64)
        assert other.hear()["type"] == "estimate", "nothing came after the end"
    assert len(notes(bridge.data, "ordered")) == 1


def test_the_layers_of_a_service_are_made_exact_here(client: Client) -> None:
    result = client.split(PICTURE, **elsewhere(0))
    report = result.last("done")["report"]
    assert (report["max_error"], report["exact_share"], report["cost"]) == (0, 1, 0.01)
    assert len(result.layers) == 5


def test_a_cancelled_job_is_called_off_and_its_fate_is_told(bridge: Bridge, client: Client) -> None:
    job = client.start(PICTURE, **elsewhere(60))
    at_work(client, job)
    client.say("cancel", job=job)
    error = client.finish(job).messages[-1]
    assert (error["code"], error["hint"]) == ("cancelled", "elsewhere had not begun: nothing is paid.")
    assert notes(bridge.data, "called off") == notes(bridge.data, "ordered")


def test_a_job_that_takes_too_long_elsewhere_is_called_off(bridge: Bridge, client: Client) -> None:
    error = client.split(PICTURE, **elsewhere(60, wall=4)).messages[-1]
    assert error["code"] == "overtime" and "nothing is paid" in error["message"] and error["kind"] == "service"
    assert len(notes(bridge.data, "called off")) == 1


def test_what_failed_elsewhere_is_sent_anew(bridge: Bridge, client: Client) -> None:
    error = client.split(PICTURE, prompt="broken", **elsewhere(0)).messages[-1]
    assert (error["code"], error["kind"], error["retryable"]) == ("service_failed", "service", True)
    assert client.split(PICTURE, prompt="broken", **elsewhere(0)).messages[-1]["code"] == "service_failed"
    assert len(notes(bridge.data, "ordered")) == 2 and len(notes(bridge.data, "connected")) == 1


def test_a_service_that_refuses_for_good_is_connected_to_anew(bridge: Bridge, client: Client) -> None:
    """It may lie in the key, which the user mends meanwhile."""
    for _ in range(2):
        assert client.split(PICTURE, prompt="no key", **elsewhere(0)).messages[-1]["code"] == "service_key"
    assert len(notes(bridge.data, "connected")) == 2


def test_jobs_that_go_well_share_a_connection(bridge: Bridge, client: Client) -> None:
    for seed in range(3):
        assert client.split(noise(64, 64, seed), **elsewhere(0)).kinds()[-1] == "done"
    assert len(notes(bridge.data, "connected")) == 1


def test_a_job_that_only_waits_here_makes_room_when_its_client_leaves(begin: Callable[..., Bridge]) -> None:
    """Elsewhere splits one picture at a time: two more wait there, and the lane sends no fourth."""
    bridge = begin(grace=0.3)
    with bridge.client() as client:
        client.start(PICTURE, **elsewhere(5, places=1))
        for seed in (2, 3):
            client.start(noise(64, 64, seed), **elsewhere(5, places=1))
        wait_for(lambda: len(notes(bridge.data, "ordered")) == 3)
        with bridge.client() as other:
            fourth = other.start(noise(64, 64, 4), **elsewhere(5, places=1))
            wait_for(lambda: "Waiting for" in str(other.hear()))
        wait_for(lambda: f"job {fourth} cancelled" in bridge.log)
        assert len(notes(bridge.data, "ordered")) == 3


def test_nothing_is_sent_without_leave(start: Starter) -> None:
    bridge = start()
    with bridge.client() as client:
        error = client.split(PICTURE, **elsewhere(0)).messages[-1]
    assert error["code"] == "backend_unavailable" and "remote-allowed" in error["hint"]
    assert notes(bridge.data, "connected") == notes(bridge.data, "ordered") == []


def test_a_killed_bridge_takes_up_what_a_service_has_and_sends_nothing_twice(begin: Callable[..., Bridge]) -> None:
    first = begin()
    with first.client() as client:
        job = client.start(PICTURE, **elsewhere(1))
        at_work(client, job)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(5)
    second = begin()
    with second.client() as client:
        client.say("attach", job=job)
        assert client.finish(job).kinds()[-1] == "done"
    assert len(notes(second.data, "ordered")) == 1


def test_a_bridge_that_ends_in_order_leaves_a_job_to_its_service(begin: Callable[..., Bridge]) -> None:
    first = begin(drain=0.1)
    with first.client() as client:
        job = client.start(PICTURE, **elsewhere(3))
        at_work(client, job)
        first.process.send_signal(signal.SIGTERM)
        assert "goes on" in client.finish(job).messages[-1]["message"]
    assert first.process.wait(20) == 0
    second = begin()
    with second.client() as client:
        client.say("attach", job=job)
        assert client.finish(job).kinds()[-1] == "done"
    assert len(notes(second.data, "ordered")) == 1 and notes(second.data, "called off") == []


def test_a_job_here_does_not_wait_for_one_on_the_graphics_card(bridge: Bridge, client: Client) -> None:
    with bridge.client() as other:
        job = other.start(PICTURE, backend="graphics", prompt="slow 60")
        wait_for(lambda: other.hear()["type"] == "progress")
        assert client.split(PICTURE).kinds()[-1] == "done"
        other.say("cancel", job=job)
        assert other.finish(job).messages[-1]["code"] == "cancelled"


def test_a_deaf_model_is_ended_with_its_worker_and_the_next_job_gets_another(client: Client) -> None:
    job = client.start(PICTURE, backend="graphics", prompt="deaf 60")
    wait_for(lambda: client.hear().get("stage") == "Beginning")
    client.say("cancel", job=job)
    assert client.finish(job).messages[-1]["code"] == "cancelled"
    assert client.split(PICTURE, backend="graphics").kinds()[-1] == "done"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shade": 256}, "“shade” of “trial” cannot be used"),
        ({"no": 1}, "has no option “no”"),
        ({"place": "x"}, "decided once for this computer"),
        (["shade"], "not readable"),
    ],
)
def test_options_that_a_backend_does_not_have_are_refused_before_any_pixel(
    client: Client, options: Any, words: str
) -> None:
    error = client.split(PICTURE, options=options).messages[-1]
    assert error["type"] == "error" and words in error["message"]


def test_a_backend_without_layers_is_an_error_that_says_so(client: Client) -> None:
    error = client.split(PICTURE, prompt="nothing").messages[-1]
    assert (error["code"], error["kind"]) == ("useless_draft", "no_layers") and "unchanged" in error["hint"]


def test_each_backends_speed_is_learned_for_itself(client: Client) -> None:
    def estimated(backend: str) -> float:
        client.say("estimate", backend=backend, width=64, height=64)
        return client.hear()["seconds"]

    before = estimated("elsewhere")
    assert client.split(PICTURE, prompt="slow 0.1").kinds()[-1] == "done"
    assert estimated("trial") < before == estimated("elsewhere")
