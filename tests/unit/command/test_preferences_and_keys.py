"""`unflatten set` and `unflatten key`: what is decided once, and keys that nobody sees."""

import io
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest

from tests.unit.command.running import Here
from tests.unit.test_keys import KEY, InMemory


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemory]:
    held = InMemory()
    before = keyring.get_keyring()
    keyring.set_keyring(held)
    monkeypatch.delenv("FAL_KEY", raising=False)
    yield held
    keyring.set_keyring(before)


def kept(here: Here) -> Path:
    return here.home / ".local" / "share" / "unflatten" / "preferences.json"


def test_nothing_may_leave_this_computer_until_it_is_said(here: Here) -> None:
    told = here("set")
    assert told.returncode == 0 and "remote-allowed no\nbackend builtin\n" in told.stdout
    assert not kept(here).exists()


def test_what_is_set_stays_set_and_is_the_users_alone(here: Here) -> None:
    assert here("set", "remote-allowed", "yes").stdout == "remote-allowed yes\n"
    assert here("set", "backend", "fal").stdout == "backend fal\n"
    assert json.loads(kept(here).read_text()) | {"remote_allowed": True, "backend": "fal"} == json.loads(
        kept(here).read_text()
    )
    assert stat.S_IMODE(kept(here).stat().st_mode) == 0o600
    assert "backend fal" in here("set").stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["remote-allowed", "perhaps"], "neither yes nor no"),
        (["backend", "mermaid"], "no backend named “mermaid”"),
        (["colour", "red"], "nothing named “colour”"),
        (["fal-url", "http://example.org"], "everyone to read"),
        (["fal-wall-clock", "2"], "Seconds that a picture may take at fal"),
        (["fal-wall-clock"], "not said what"),
    ],
)
def test_what_cannot_be_set_is_said_and_nothing_changes(here: Here, words: list[str], sentence: str) -> None:
    told = here("set", *words)
    assert told.returncode == 1 and sentence in told.stderr and len(told.stderr.splitlines()) == 2
    assert not kept(here).exists()


def test_a_key_comes_by_a_pipe_and_is_shown_nowhere(
    here: Here, keys: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
    told = here("key", "set", "fal")
    assert told.returncode == 0 and keys.held == {("unflatten", "fal"): KEY}
    shown = here("key", "show", "fal")
    assert shown.returncode == 0 and "There is a key for fal in the keyring." in shown.stdout
    forgotten = here("key", "forget", "fal")
    assert forgotten.returncode == 0 and keys.held == {}
    assert here("key", "show", "fal").returncode == 1
    assert "There was no key" in here("key", "forget", "fal").stdout
    for each in (told, shown, forgotten):
        assert KEY not in each.stdout + each.stderr
    assert not list(here.home.rglob("*")) or KEY not in "".join(
        file.read_text() for file in here.home.rglob("*") if file.is_file()
    )


def test_at_a_terminal_it_is_typed_unseen(here: Here, keys: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or KEY)
    terminal = io.StringIO("")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    assert here("key", "set", "fal").returncode == 0
    assert asked == ["Key for fal: "] and keys.held == {("unflatten", "fal"): KEY}


def test_what_is_no_key_and_who_needs_none(here: Here, keys: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("my key\n"))
    told = here("key", "set", "fal")
    assert told.returncode == 1 and "is not a key" in told.stderr and "my key" not in told.stderr
    assert "No key is needed" in here("key", "set", "builtin").stderr
    assert keys.held == {}


def test_without_a_keyring_the_environment_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    try:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
        told = here("key", "set", "fal")
    finally:
        keyring.set_keyring(before)
    assert told.returncode == 1 and "FAL_KEY" in told.stderr and KEY not in told.stderr
