"""What the user decides once for this computer."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bridge.backends import preferences, registry
from bridge.backends.base import computer_wide
from bridge.errors import BadSettings
from bridge.urls import check_base_url

ROOT = Path(__file__).parents[3]


class ToyOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: Annotated[str, AfterValidator(lambda url: check_base_url(url) if url else "")] = computer_wide("")
    strokes: Annotated[int, Field(ge=1, le=9, description="How many strokes, from 1 to 9.")] = 3


class Toy:
    """What a backend from elsewhere shows of its options."""

    name = "toy"
    Options = ToyOptions


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BACKENDS", {"toy": f"{__name__}:Toy", "broken": "no.such.module:Broken"})


def test_nothing_may_leave_this_computer_until_the_user_says_so(tmp_path: Path) -> None:
    found = preferences.read(tmp_path)
    assert found.remote_allowed is False and found.backend == "" and found.options_of("toy") == {}
    assert list(tmp_path.iterdir()) == [], "reading writes nothing"


def test_what_was_set_is_there_the_next_time_and_nobody_elses_to_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    preferences.change("remote-allowed", "yes", data)
    preferences.change("backend", "toy", data)
    preferences.change("toy-base-url", "http://127.0.0.1:8000/", data)
    told = preferences.change("toy-strokes", "7", data)
    found = preferences.read(data)
    assert told == found and found.remote_allowed and found.backend == "toy"
    assert found.options_of("toy") == {"base_url": "http://127.0.0.1:8000", "strokes": 7}
    assert [file.name for file in data.iterdir()] == [preferences.FILE]
    assert stat.S_IMODE((data / preferences.FILE).stat().st_mode) == 0o600


def test_an_empty_text_sets_each_back(tmp_path: Path) -> None:
    values = {"remote-allowed": "yes", "backend": "toy", "toy-base-url": "https://example.org", "toy-strokes": "7"}
    for name, value in values.items():
        preferences.change(name, value, tmp_path)
    for name in values:
        preferences.change(name, "", tmp_path)
    assert preferences.read(tmp_path) == preferences.Preferences()


def test_everything_is_listed_by_its_name_on_the_command_line(tmp_path: Path) -> None:
    untouched = {"remote-allowed": False, "backend": "toy", "toy-base-url": "", "toy-strokes": 3}
    assert preferences.listed(preferences.read(tmp_path)) == untouched
    assert preferences.listed(preferences.change("toy-strokes", "7", tmp_path)) == {**untouched, "toy-strokes": 7}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("remote-allowed", "perhaps", "neither yes nor no"),
        ("toy-strokes", "many", "How many strokes, from 1 to 9."),
        ("toy-strokes", "0", "How many strokes, from 1 to 9."),
        ("toy-base-url", "http://example.org", "everyone to read"),
        ("toy-base-url", "example.org", "not a web address"),
        ("backend", "mermaid", "Choose one of: toy"),
        ("colour", "blue", "remote-allowed, backend, toy-base-url, toy-strokes"),
        ("backends", "{}", "nothing named “backends”"),
    ],
)
def test_what_cannot_be_set_changes_nothing(tmp_path: Path, name: str, value: str, words: str) -> None:
    preferences.change("remote-allowed", "yes", tmp_path)
    before = (tmp_path / preferences.FILE).read_text()
    with pytest.raises(BadSettings) as raised:
        preferences.change(name, value, tmp_path)
    assert raised.value.hint and words in f"{raised.value.message} {raised.value.hint}"
    assert (tmp_path / preferences.FILE).read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "\0",
        "\udcff",
        '{"remote_allowed": "perhaps"}',
        '{"backends": []}',
        '{"toy_strokes": "x"}',
        '{"backends": {"toy": {"base_url": "http://example.org"}}}',
    ],
)
def test_a_damaged_file_is_said_and_allows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / preferences.FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadSettings, match="damaged"):
        preferences.read(tmp_path)


def written(folder: Path, **told: Any) -> preferences.Preferences:
    (folder / preferences.FILE).write_text(json.dumps(told))
    return preferences.read(folder)


def test_a_newer_unflattens_file_can_be_read(tmp_path: Path) -> None:
    found = written(tmp_path, remote_allowed=True, telepathy=True, backends={"toy": {"strokes": 2, "telepathy": 1}})
    assert found.remote_allowed and found.options_of("toy") == {"strokes": 2}


def test_what_was_decided_for_a_backend_that_is_not_there_now_is_kept(tmp_path: Path) -> None:
    written(tmp_path, backends={"broken": {"a": 1}, "elsewhere": {"b": 2}})
    found = preferences.change("toy-strokes", "7", tmp_path)
    assert (found.options_of("broken"), found.options_of("elsewhere")) == ({"a": 1}, {"b": 2})


def test_a_file_of_before_in_which_options_stood_beside_the_rest_can_be_read(tmp_path: Path) -> None:
    found = written(tmp_path, toy_base_url="https://example.org/", strokes=8, backend="toy")
    assert found.options_of("toy") == {"base_url": "https://example.org", "strokes": 8} and found.backend == "toy"
    changed = preferences.change("remote-allowed", "yes", tmp_path)
    assert preferences.read(tmp_path) == changed and changed.options_of("toy") == found.options_of("toy")


def test_preferences_need_no_library_for_pictures() -> None:
    show = "import sys, bridge.backends.preferences; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "cv2", "httpx", "keyring"} & set(loaded.stdout.split())
