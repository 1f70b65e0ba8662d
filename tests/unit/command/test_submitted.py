"""What the command line has handed over, written down so that a second run finds it."""

import os
import stat
import sys
import time
from pathlib import Path

import pytest
from bridge.command.submitted import FORGOTTEN_AFTER, Submission, Submitted

from bridge.errors import OutOfSpace


def test_a_handle_is_kept_replaced_and_forgotten(tmp_path: Path) -> None:
    store = Submitted(tmp_path / "submitted")
    assert store.get("a") is None and store.others("a") == ()
    store.keep("a", "one")
    store.keep("a", "two")
    store.keep("b", "three")
    assert Submitted(tmp_path / "submitted").get("a") == "two" and store.others("a") == ("three",)
    store.keep("a", "")
    assert store.get("a") is None
    store.forget("b"), store.forget("b")
    assert list((tmp_path / "submitted").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_it_is_the_users_alone(tmp_path: Path) -> None:
    store = Submitted(tmp_path / "submitted")
    store.keep("a", "one")
    assert stat.S_IMODE((tmp_path / "submitted").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "submitted" / "a").stat().st_mode) == 0o600


def test_what_nobody_came_back_for_is_forgotten(tmp_path: Path) -> None:
    store = Submitted(tmp_path)
    store.keep("old", "one")
    store.keep("new", "two")
    long_ago = time.time() - FORGOTTEN_AFTER - 60
    os.utime(tmp_path / "old", (long_ago, long_ago))
    assert store.others("mine") == ("two",) and store.get("old") is None


def test_nothing_goes_on_that_cannot_be_written_down(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutOfSpace) as raised:
        Submitted(tmp_path / "file" / "submitted").keep("a", "one")
    assert str(tmp_path) in raised.value.hint


def test_another_picture_other_settings_and_another_result_are_other_submissions(tmp_path: Path) -> None:
    store = Submitted(tmp_path)
    Submission("picture", "how", Path("a.ora"), store).keep("mine")
    assert Submission("picture", "how", Path("a.ora").resolve(), store).handle == "mine"
    for other in (("other", "how", "a.ora"), ("picture", "else", "a.ora"), ("picture", "how", "b.ora")):
        found = Submission(other[0], other[1], Path(other[2]), store)
        assert found.handle is None and found.others == ("mine",)
