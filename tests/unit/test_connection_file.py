"""The data folder and the file that a running bridge is found by."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from bridge.connection_file import (
    CONNECTION_FILE,
    Connection,
    data_dir,
    read_connection,
    remove_connection,
    write_connection,
)


def test_the_data_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path))
    assert data_dir() == tmp_path
    monkeypatch.delenv("UNFLATTEN_HOME")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        assert data_dir() == tmp_path / "unflatten"
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert data_dir() == tmp_path / ".local" / "share" / "unflatten"


def test_a_connection_file_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    assert read_connection(tmp_path) is None
    for text in ("", "{", "[]", '{"port": 1}', '{"port": "x", "pid": 1, "token": "", "version": "", "started": 0}'):
        (tmp_path / CONNECTION_FILE).write_text(text)
        assert read_connection(tmp_path) is None
    told = {"port": 4, "pid": 5, "token": "ab", "version": "1", "started": 6.5, "later": "field"}
    (tmp_path / CONNECTION_FILE).write_text(json.dumps(told))
    assert read_connection(tmp_path) == Connection(4, 5, "ab", "1", 6.5)


def test_what_is_written_is_read_and_private(tmp_path: Path) -> None:
    connection = Connection(4, 5, "ab", "1", 6.5)
    write_connection(tmp_path, connection)
    assert read_connection(tmp_path) == connection
    assert os.listdir(tmp_path) == [CONNECTION_FILE]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / CONNECTION_FILE).stat().st_mode) == 0o600


def test_only_its_own_file_is_removed(tmp_path: Path) -> None:
    older, newer = Connection(4, 5, "ab", "1", 6.5), Connection(7, 8, "cd", "1", 9.5)
    write_connection(tmp_path, newer)
    remove_connection(tmp_path, older)
    assert read_connection(tmp_path) == newer
    remove_connection(tmp_path, newer)
    assert read_connection(tmp_path) is None
