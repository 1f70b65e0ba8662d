"""Leave, key and addresses: what is decided before anything is sent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import keys
from bridge.backends import preferences, registry
from bridge.backends.base import Credential, RemoteBackend
from bridge.backends.choice import choose, offers
from bridge.backends.fal.account import Addresses, Options, addresses
from bridge.backends.fal.backend import Fal as Backend
from bridge.connection_file import data_dir
from bridge.errors import BackendUnavailable, BadSettings
from tests.unit.backends.fal.driving import draft
from tests.unit.backends.fal.service import KEY, Fal, Service

ROOT = Path(__file__).parents[4]


def test_nothing_is_sent_without_the_users_leave(service: Service) -> None:
    preferences.change("remote-allowed", "no")
    failure = draft().failure
    assert isinstance(failure, BackendUnavailable) and "unflatten set remote-allowed yes" in failure.hint
    assert service.fal.calls == []


def no_key(credential: Credential) -> None:
    """A keyring that holds none."""


def test_without_a_key_it_says_how_to_get_one(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAL_KEY")
    monkeypatch.setattr("bridge.keys.find", no_key)
    failure = draft().failure
    assert failure.code == "backend_unavailable" and "unflatten key set fal" in failure.hint
    assert service.fal.calls == []


def test_the_keyring_is_asked_only_to_connect_and_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Credential] = []

    def find(credential: Credential) -> keys.Key:
        asked.append(credential)
        return keys.Key(KEY, "in the keyring")

    monkeypatch.setattr("bridge.keys.find", find)
    offers()
    assert asked == []
    assert draft().error is None and asked == [Backend.credential]


def test_it_is_offered_as_remote_with_its_price(service: Service) -> None:
    [offer] = [offer for offer in offers() if offer["name"] == "fal"]
    assert offer["leaves_computer"] and offer["cost"] == "$0.05 a picture" and offer["unavailable"] == ""
    assert "prompt" in offer["settings"] and offer["layers"] == [1, 10] and not offer["default"]
    assert offer["short"] == "fal" and "fal" in registry.names() and isinstance(Backend(), RemoteBackend)


def test_its_module_and_what_it_can_do_cost_nothing() -> None:
    show = """import sys
from bridge.backends.fal.backend import Fal
Fal().capabilities(Fal.Options())
print(*sys.modules)"""
    loaded = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "PIL", "httpx", "keyring"} & set(loaded.stdout.split())


def test_a_connected_model_needs_no_library_for_pictures() -> None:
    show = """import sys, os
from bridge.backends.fal.backend import Fal
os.environ["FAL_KEY"] = "0123456789"
Fal().connect(Fal.Options())
print(*sys.modules)"""
    loaded = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "PIL", "keyring"} & set(loaded.stdout.split())


def test_seconds_may_be_asked_for_by_a_job_and_addresses_not(service: Service) -> None:
    chosen = choose("fal", {"wall_clock": 30})
    assert chosen.remote is not None and chosen.remote.wall_clock(chosen.options) == 30
    with pytest.raises(BadSettings, match="decided once for this computer"):
        choose("fal", {"queue_url": "https://gateway.example"})
    with pytest.raises(BadSettings, match="wall_clock"):
        choose("fal", {"wall_clock": 1})


def test_a_preferences_file_of_before_is_understood(service: Service) -> None:
    told = {"remote_allowed": True, "backend": "builtin", "fal_url": "", "fal_queue_url": "https://q.example/"}
    (data_dir() / preferences.FILE).write_text(json.dumps({**told, "wall_clock": 90.0}))
    options = choose("fal").options
    assert isinstance(options, Options) and (options.queue_url, options.wall_clock) == ("https://q.example", 90)


def test_the_addresses_can_be_set_one_by_one(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Addresses:
        options = choose("fal").options
        assert isinstance(options, Options)
        return addresses(options)

    monkeypatch.setenv("UNFLATTEN_FAL_URL", "https://gateway.example/fal/")
    preferences.change("fal-platform-url", "https://api.fal.ai/v1")
    assert found().queue == "https://gateway.example/fal/queue" and found().rest == "https://gateway.example/fal/rest"
    assert found().platform == "https://api.fal.ai/v1"
    assert {origin.host for origin in found().exempt} == {"gateway.example"}
    monkeypatch.delenv("UNFLATTEN_FAL_URL")
    assert found().queue == "https://queue.fal.run"


def test_an_address_that_would_show_the_key_is_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFLATTEN_FAL_URL", "http://gateway.example")
    failure = draft().failure
    assert failure.code == "backend_unavailable" and "everyone to read" in failure.message
    with pytest.raises(BackendUnavailable, match="everyone to read"):
        Backend().connect(Options())


def test_urls_of_the_queue_that_lead_elsewhere_are_not_given_the_key(fal: Fal) -> None:
    """A gateway passes fal's own URLs on as they are; a bad one could name any."""
    from bridge.backends.fal.handle import Submitted
    from bridge.backends.fal.queue import located

    places = Addresses(queue="https://gateway.example/fal/queue")
    for url in (
        "https://queue.fal.run/x/requests/7",
        "https://gateway.example:444/7",
        "http://gateway.example/7",
        "",
        "x",
    ):
        found = located(Submitted("7", url, url, url, 1), places)
        assert found.response_url == "https://gateway.example/fal/queue/fal-ai/qwen-image-layered/requests/7"
        assert found.status_url == f"{found.response_url}/status" and found.cancel_url == f"{found.response_url}/cancel"
    own = "https://gateway.example/fal/queue/elsewhere/7"
    assert located(Submitted("7", own, own, own, 1), places).status_url == own
