"""What the user decides once for this computer."""

import json
import stat
from pathlib import Path

import pytest

from bridge import preferences
from bridge.backends import base
from bridge.errors import BadSettings


def test_nothing_may_leave_this_computer_until_the_user_says_so(tmp_path: Path) -> None:
    found = preferences.read(tmp_path)
    assert found.remote_allowed is False and found.backend == base.DEFAULT and found.wall_clock == 600
    assert list(tmp_path.iterdir()) == [], "reading writes nothing"


def test_what_was_set_is_there_the_next_time_and_nobody_elses_to_read(tmp_path: Path) -> None:
    preferences.change("remote-allowed", "yes", tmp_path / "data")
    preferences.change("fal-url", "http://127.0.0.1:8000/", tmp_path / "data")
    preferences.change("wall-clock", "90", tmp_path / "data")
    found = preferences.read(tmp_path / "data")
    assert (found.remote_allowed, found.fal_url, found.wall_clock) == (True, "http://127.0.0.1:8000", 90)
    assert [file.name for file in (tmp_path / "data").iterdir()] == [preferences.FILE]
    assert stat.S_IMODE((tmp_path / "data" / preferences.FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("remote-allowed", "perhaps"),
        ("wall-clock", "soon"),
        ("wall-clock", "0"),
        ("wall-clock", "nan"),
        ("fal-url", "http://example.org"),
        ("fal-queue-url", "example.org"),
        ("backend", ""),
        ("colour", "blue"),
    ],
)
def test_what_cannot_be_set_changes_nothing(tmp_path: Path, name: str, value: str) -> None:
    preferences.change("remote-allowed", "yes", tmp_path)
    before = (tmp_path / preferences.FILE).read_text()
    with pytest.raises(BadSettings) as raised:
        preferences.change(name, value, tmp_path)
    assert raised.value.hint
    assert (tmp_path / preferences.FILE).read_text() == before


@pytest.mark.parametrize("text", ["{", "[]", '{"wall_clock": "x"}', '{"fal_url": "http://example.org"}', "\0"])
def test_a_damaged_file_is_said_and_allows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / preferences.FILE).write_text(text)
    with pytest.raises(BadSettings, match="damaged"):
        preferences.read(tmp_path)


def test_a_newer_unflattens_file_can_be_read(tmp_path: Path) -> None:
    (tmp_path / preferences.FILE).write_text(json.dumps({"remote_allowed": True, "telepathy": True}))
    assert preferences.read(tmp_path).remote_allowed
