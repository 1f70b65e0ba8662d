import errno
import os
from pathlib import Path

import pytest

from bridge.errors import OutOfSpace, UnflattenError
from bridge.files.atomic import whole_file, whole_folder
from bridge.files.openraster import write_openraster
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.stacks import opaque


def test_what_fails_halfway_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.ora").write_bytes(b"old")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.ora") as fresh:
        fresh.write_bytes(b"half")
        raise RuntimeError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.ora": b"old"}


def test_a_folder_that_fails_halfway_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "layers") as fresh:
        (fresh / "00.png").write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_saved_file_has_the_mode_of_the_users_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    with whole_file(tmp_path / "a.ora") as fresh:
        fresh.write_bytes(b"new")
    assert (tmp_path / "a.ora").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(OutOfSpace, match=r"a\.ora"), whole_file(tmp_path / "a.ora"), open("/dev/full", "wb") as full:
        full.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_sizes_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A real write that the system refuses in the middle of a real file."""
    resource = pytest.importorskip("resource")
    pixels = opaque(1, 200, 200)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutOfSpace):
            write_openraster(Stack((Layer("Background", pixels),), 200, 200), Picture(pixels), tmp_path / "a.ora")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_told_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UnflattenError, match="could not be saved") as caught, whole_file(tmp_path / "no" / "a.ora"):
        pass
    assert caught.value.code == "cannot_save"
    assert caught.value.hint
    assert os.strerror(errno.ENOENT) in caught.value.message
