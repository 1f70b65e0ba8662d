"""What a batch remembers: unchanged files are skipped, and no file of the artist's is ever written over."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def plugin(assembled: Path) -> None:
    """Makes `unflatten` importable."""


def test_a_file_is_unchanged_until_it_or_the_settings_change(tmp_path: Path) -> None:
    from unflatten.ledger import Ledger

    source, result = tmp_path / "a.png", tmp_path / "a.kra"
    source.write_bytes(b"picture")
    result.write_bytes(b"layers")
    Ledger(tmp_path).enter(source, result, {"seed": 1})
    assert Ledger(tmp_path).unchanged(source, {"seed": 1}) == result
    assert Ledger(tmp_path).unchanged(source, {"seed": 2}) is None
    os.utime(source, ns=(1, 1))
    assert Ledger(tmp_path).unchanged(source, {"seed": 1}) is None
    Ledger(tmp_path).enter(source, result, {"seed": 1})
    result.unlink()
    assert Ledger(tmp_path).unchanged(source, {"seed": 1}) is None


def test_names_in_use_are_left_alone(tmp_path: Path) -> None:
    from unflatten.ledger import Ledger

    (tmp_path / "a.kra").write_bytes(b"the artist's own")
    ledger = Ledger(tmp_path)
    place = ledger.place(Path("/pictures/a.png"))
    assert place == tmp_path / "a.png.kra"
    ledger.enter(Path("/pictures/a.png"), place, {})
    assert ledger.place(Path("/other/a.png")) == tmp_path / "a.png (2).kra"
    assert ledger.place(Path("/pictures/a.png")) == place, "the same source keeps its place"


def test_a_damaged_ledger_is_as_good_as_none(tmp_path: Path) -> None:
    from unflatten.ledger import NAME, Ledger

    for text in ("", "{", "[1]", '{"a": 1}', '{"a": {"result": "x"}}'):
        (tmp_path / NAME).write_text(text)
        assert Ledger(tmp_path).unchanged(tmp_path / "a", {}) is None
