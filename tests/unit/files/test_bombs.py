"""Files that ask for far more than they hold, each measured in a process of its own.

Those that take seconds to make are left to tests/bench/bench_hostile_files.py.
"""

import sys
from pathlib import Path

import pytest

from tests.bench.bench_hostile_files import in_child
from tests.unit.files.bombs import BOMBS, many_entries

QUICK = [
    *("tile.tif", "strip.tif", "samples.tif", "endless.tif", "frame.gif", "canvas.webp"),
    *("palette.psd", "resources.psd", "layers.psd", "rows.psd"),
]
MOST = 100_000_000
"""Bytes: the pictures that they claim to be are tiny, and libraries take some for themselves."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read where Linux tells it")


@pytest.mark.parametrize("name", QUICK)
def test_a_bomb_takes_no_memory_and_ends_in_a_sentence(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / name)
    told = in_child(tmp_path / name, 0, 0)
    assert told["strange"] == []
    assert told["grown"] < MOST
    assert told["slowest"] < 5


def test_an_archive_of_many_entries_is_refused_before_they_are_read(tmp_path: Path) -> None:
    many_entries(tmp_path / "a.ora", 100_000)
    told = in_child(tmp_path / "a.ora", 0, 0)
    assert "too many parts" in told["said"] and told["grown"] < MOST
