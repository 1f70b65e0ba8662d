"""Files that are whole or not there, with the modes that they should have."""

import errno
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.errors import OutOfSpace, UnflattenError
from bridge.files.disk import remove_unfinished, whole_file, whole_folder, write_whole
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


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_what_is_saved_has_the_mode_of_the_users_other_files(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "other").write_bytes(b"")
        (tmp_path / "others").mkdir()
        with whole_file(tmp_path / "a.ora") as fresh:
            fresh.write_bytes(b"new")
        with whole_folder(tmp_path / "layers") as folder:
            (folder / "00.png").write_bytes(b"new")
    finally:
        os.umask(before)
    for name, usual in [("a.ora", "other"), ("layers", "others"), ("layers/00.png", "other")]:
        assert (tmp_path / name).stat().st_mode == (tmp_path / usual).stat().st_mode


def test_saving_in_threads_never_touches_the_process_s_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can only be read by setting it: whatever another thread makes meanwhile would get a wrong mode."""

    def touched(mask: int) -> int:
        raise AssertionError("the umask was set")

    def save(number: int) -> None:
        with whole_file(tmp_path / f"{number}.ora") as fresh:
            fresh.write_bytes(b"new")
        with whole_folder(tmp_path / f"{number}") as folder:
            (folder / "00.png").write_bytes(b"new")

    monkeypatch.setattr(os, "umask", touched)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(20)))
    assert len(list(tmp_path.iterdir())) == 40


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_a_private_file_is_its_owner_s_alone_from_its_first_byte(tmp_path: Path) -> None:
    seen: list[int] = []

    def pieces():  # type: ignore[no-untyped-def]
        yield b"first"
        seen.append(stat.S_IMODE((tmp_path / "a.part").stat().st_mode))

    write_whole(tmp_path / "a.bin", pieces())
    assert seen == [0o600] and stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o600


KILLED = """
import os, signal, sys
from pathlib import Path
from bridge.files.disk import whole_file, whole_folder
target = Path(sys.argv[1])
with (whole_file if target.suffix else whole_folder)(target) as fresh:
    (fresh if target.suffix else fresh / "00.png").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("name", ["a.ora", "layers"])
def test_what_a_killed_process_left_half_written_goes_and_what_another_writes_stays(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    subprocess.run([sys.executable, "-c", KILLED, str(target)], cwd=Path(__file__).parents[3])
    assert len(list(tmp_path.iterdir())) == 1
    with (whole_file if target.suffix else whole_folder)(target) as ours:
        assert list(tmp_path.iterdir()) == [ours], "what was left goes when the same is saved again"
        remove_unfinished(target)
        assert list(tmp_path.iterdir()) == [ours]
        (ours if target.suffix else ours / "00.png").write_bytes(b"whole")
    assert list(tmp_path.iterdir()) == [target]


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


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such processes")
def test_a_process_that_ended_unnoticed_works_on_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.read() == b""  # it has ended, and nobody has waited for it
    left = tmp_path / f".a-{process.pid}-0123abcd.ora"
    left.write_bytes(b"half")
    until = time.monotonic() + 60
    while left.exists() and time.monotonic() < until:
        remove_unfinished(tmp_path / "a.ora")
        time.sleep(0.05)
    assert not left.exists()
    process.wait()
