"""A model's answers as names, and what it is shown for them; captions that are remembered."""

import json
from pathlib import Path

import numpy as np
import pytest

from bridge.backends.diffusers import captions
from bridge.backends.diffusers.naming import NAMING_SIDE, cut_out, tidy_name


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("red kite", "Red kite"),
        ("“Red kite”.", "Red kite"),
        ("**A red kite**\nIt is flying over the sea.", "A red kite"),
        ("  le cerf-volant d'été, rouge ", "Le cerf-volant d'été, rouge"),
        ("красный змей", "Красный змей"),
        ("风筝", "风筝"),
        ("<h1>Kite</h1>", "H1 Kite h1"),
        ("", ""),
        ("...", ""),
        ("42", ""),
        ("i�i�i�i� " * 20, ""),
        ("This image shows a very long sentence instead of a name", ""),
    ],
)
def test_a_name(told: str, name: str) -> None:
    assert tidy_name(told) == name


def test_what_is_shown_is_cut_out_on_grey_and_small() -> None:
    layer = np.zeros((900, 1400, 4), np.uint8)
    layer[100:800, 200:1300] = (250, 0, 0, 255)
    shown = cut_out(layer)
    assert shown is not None and max(shown.size) == NAMING_SIDE
    assert shown.getpixel((0, 0)) == (128, 128, 128)
    middle = shown.getpixel((shown.width // 2, shown.height // 2))
    assert isinstance(middle, tuple) and middle[0] > 240 and middle[1] < 10
    assert cut_out(np.zeros((20, 20, 4), np.uint8)) is None


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_captions_are_kept_for_the_same_picture_and_model(home: Path) -> None:
    key = captions.digest(b"pixels", "model")
    assert captions.find(key) is None
    captions.keep(key, "A kite over the sea.")
    assert captions.find(key) == "A kite over the sea."
    assert captions.digest(b"pixels", "other") != key != captions.digest(b"others", "model")
    assert (home / captions.FILE).stat().st_mode & 0o777 == 0o600


def test_the_latest_are_kept_and_none_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = [1_000_000.0]
    monkeypatch.setattr(captions, "now", lambda: at[0])
    for number in range(captions.MOST + 5):
        at[0] += 1
        captions.keep(str(number), f"caption {number}")
    known = json.loads((home / captions.FILE).read_text())
    assert len(known) == captions.MOST and "4" not in known and "5" in known
    at[0] += captions.KEPT + 1
    assert captions.find("100") is None


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"a": 1}', '{"a": {"caption": "x"}}'])
def test_a_damaged_file_is_begun_anew(home: Path, damage: str) -> None:
    home.mkdir()
    (home / captions.FILE).write_text(damage)
    assert captions.find("a") is None
    captions.keep("a", "new")
    assert captions.find("a") == "new"


def test_where_it_cannot_be_written_nothing_is_lost_but_time(home: Path) -> None:
    home.write_text("a file where the folder should be")
    captions.keep("a", "new")
    assert captions.find("a") is None
