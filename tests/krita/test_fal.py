"""The main job by the remote backend: real Krita, its bridge, and a second bridge whose own API stands in for fal."""

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installer.environment import Environment
from tests.krita.bridges import Bridge
from tests.krita.pictures import compare, seen
from tests.krita.window import FAL_KEY, Krita, wait_for

ROOT = Path(__file__).parents[2]
POSTER = ROOT / "bridge" / "sample" / "poster.png"
OUT = ROOT / "tests" / "out"


@dataclass(frozen=True)
class Service:
    url: str

    def requests(self) -> list[dict[str, Any]]:
        """All that it was ever asked for."""
        listing = f"{self.url}/platform/v1/models/requests/by-endpoint?endpoint_id=fal-ai/qwen-image-layered&limit=100"
        question = urllib.request.Request(listing, headers={"Authorization": f"Key {FAL_KEY}"})
        with urllib.request.urlopen(question, timeout=20) as answer:
            return json.load(answer)["items"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = {
        "PATH": os.environ["PATH"],
        "UNFLATTEN_HOME": str(tmp_path_factory.mktemp("far")),
        "UNFLATTEN_FAL_API_KEY": FAL_KEY,
    }
    command = [Environment(ROOT).python, "-m", "bridge.cli", "serve", "--fal", "--idle-minutes", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as far:
        assert far.stdout is not None
        url = None
        while url is None:
            line = far.stdout.readline()
            assert line, "the API to open"
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
        yield Service(url[0])
        far.terminate()


@pytest.fixture
def remote(krita: Krita, service: Service, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge that Krita starts, which may send pictures to `service`, and does so without being told each time."""
    bridge = Bridge(Environment(ROOT).python, tmp_path / "near")
    bridge.data.mkdir()
    preferred = {"remote_allowed": True, "backend": "fal", "fal_url": service.url}
    (bridge.data / "preferences.json").write_text(json.dumps(preferred))
    krita.use(bridge.python, bridge.data)
    yield bridge
    bridge.end()


def assert_taken_apart(krita: Krita, before: Any, folder: Path) -> None:
    _, group = krita.layers(name="poster")
    print("bottom to top:", [layer["name"] for layer in group["children"]])
    assert len(group["children"]) >= 3
    assert compare(before, seen(krita, "poster", folder)) == (0, 1.0)


def test_a_poster_is_split_at_fal(krita: Krita, service: Service, remote: Bridge, tmp_path: Path) -> None:
    assert krita.open_document(name="poster", path=str(POSTER))
    before, earlier = seen(krita, "poster", tmp_path), len(service.requests())

    krita.key("ctrl+alt+u")
    wait_for(
        lambda: re.search(r"fal (is splitting|– )|fal: [A-Z]", str(krita.progress_windows())),
        60,
        "the window to say who splits",
    )
    krita.screenshot(OUT / "krita-fal.png")
    krita.wait_until_idle(180)

    assert krita.progress_windows() == [], "no message that needs to be read"
    assert_taken_apart(krita, before, tmp_path)
    (asked, *_) = service.requests()
    assert len(service.requests()) == earlier + 1
    assert "json_input" not in asked, "fal is asked to keep nothing"
    krita.key("ctrl+z")
    wait_for(lambda: len(krita.layers(name="poster")) == 1, 20, "one undo to take the group away")


def test_a_bridge_that_dies_while_fal_works_takes_the_job_up_again(
    krita: Krita, service: Service, remote: Bridge, tmp_path: Path
) -> None:
    assert krita.open_document(name="poster", path=str(POSTER))
    before, earlier = seen(krita, "poster", tmp_path), len(service.requests())

    krita.key("ctrl+alt+u")
    wait_for(
        lambda: re.search(r"fal (is splitting|– )|fal: [A-Z]", str(krita.progress_windows())), 60, "fal to be at work"
    )
    remote.kill()
    krita.wait_until_idle(180)

    assert krita.progress_windows() == [], "no message that needs to be read"
    assert_taken_apart(krita, before, tmp_path)
    assert len(service.requests()) == earlier + 1, "handed over, and paid for, once"


def test_nothing_is_sent_without_leave(krita: Krita, service: Service, remote: Bridge, tmp_path: Path) -> None:
    preferred = {"remote_allowed": False, "backend": "fal", "fal_url": service.url}
    (remote.data / "preferences.json").write_text(json.dumps(preferred))
    assert krita.open_document(name="poster", path=str(POSTER))
    earlier = len(service.requests())

    krita.key("ctrl+alt+u")
    wait_for(lambda: "may not be sent to fal" in str(krita.progress_windows()), 60, "a message")
    krita.screenshot(OUT / "krita-no-leave.png")

    assert len(krita.layers(name="poster")) == 1
    assert len(service.requests()) == earlier
