"""Krita's settings file: one entry goes in and out again, and every other byte stays."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.krita import kritarc
from bridge.krita.kritarc import Change, enable, state, undo

LINES = [
    b"[python]",
    b"[python][sub]",
    b"[theme]",
    b"enable_foo=true",
    b"enable_unflatten=false",
    b"enable_unflatten = TRUE",
    b"enable_unflatten_too=true",
    b"# enable_unflatten=true",
    b"Theme=Krita dark",
    b"name=\xc3\xa9t\xe9 \x00",
    b"",
]


@st.composite
def settings_files(draw: st.DrawFn) -> bytes:
    """Settings of any order, with either kind of line end, with or without one at the end."""
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = draw(st.lists(st.sampled_from(LINES), max_size=12))
    return newline.join(lines) + draw(st.sampled_from([b"", newline]))


@given(settings_files())
def test_undone_it_is_the_same_to_the_byte(before: bytes) -> None:
    after, change = enable(before)
    assert state(after) is True
    assert undo(after, change) == before


@given(settings_files())
def test_all_but_one_place_stays_as_it_was(before: bytes) -> None:
    after, change = enable(before)
    was, now = change.was or b"", change.added or kritarc.ON
    places = [place for place in range(len(before) + 1) if before.startswith(was, place)]
    one_place = [before[:place] + now + before[place + len(was.rstrip(b"\r\n")) :] for place in places]
    assert after in one_place


@given(settings_files())
def test_turning_it_on_twice_changes_nothing_more(before: bytes) -> None:
    once, _ = enable(before)
    assert enable(once)[0] == once


def test_it_goes_into_the_group_that_is_there() -> None:
    after, change = enable(b"[a]\nx=1\n[python]\nenable_foo=true\n[z]\n")
    assert after == b"[a]\nx=1\n[python]\nenable_unflatten=true\nenable_foo=true\n[z]\n"
    assert change == Change(added=b"enable_unflatten=true\n")


def test_an_empty_file_gets_a_group() -> None:
    assert enable(b"")[0] == b"[python]\nenable_unflatten=true\n"


def test_an_entry_outside_the_group_means_nothing() -> None:
    assert state(b"[theme]\nenable_unflatten=true\n") is None
    assert state(b"[python]\nenable_unflatten=false\n[x]\nenable_unflatten=true\n") is False


def test_only_ours_goes_once_krita_has_sorted_the_file_anew() -> None:
    """Krita writes its settings on exit: groups and entries by name, its own added."""
    _, change = enable(b"[theme]\nTheme=dark\n")
    saved = b"[MainWindow]\nState=x\n\n[python]\nenable_unflatten=true\n\n[theme]\nTheme=dark\n"
    assert undo(saved, change) == b"[MainWindow]\nState=x\n\n[theme]\nTheme=dark\n"


def test_a_group_that_others_use_by_now_stays() -> None:
    _, change = enable(b"[theme]\n")
    saved = b"[python]\nenable_foo=true\nenable_unflatten=true\n\n[theme]\n"
    assert undo(saved, change) == b"[python]\nenable_foo=true\n\n[theme]\n"


def test_what_the_user_removed_is_not_looked_for() -> None:
    _, change = enable(b"")
    assert undo(b"[theme]\nTheme=dark\n", change) == b"[theme]\nTheme=dark\n"


def test_an_entry_that_stood_there_comes_back() -> None:
    after, change = enable(b"[python]\r\nenable_unflatten=false\r\n")
    assert after == b"[python]\r\nenable_unflatten=true\r\n"
    assert undo(b"[a]\r\n" + after, change) == b"[a]\r\n[python]\r\nenable_unflatten=false\r\n"


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
def test_the_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "kritarc"
    real.parent.mkdir()
    real.write_bytes(b"old")
    real.chmod(0o640)
    (tmp_path / "kritarc").symlink_to(real)
    kritarc.write(tmp_path / "kritarc", b"new")
    assert (tmp_path / "kritarc").is_symlink()
    assert real.read_bytes() == b"new" and real.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in real.parent.iterdir()] == ["kritarc"]
