"""A disk that fills up at any moment: a sentence, nothing half-made, and the next job works once there is room."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge import protocol
from tests.unit.trial.client import Result, new_job, noise
from tests.unit.trial.running import Bridge, Starter, wait_for

MIB = 2**20
DISK = 160 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of its own. Mounting one needs root, which the tests' machine gives."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(mount)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no right to mount a small disk here; the tests with a file size limit run everywhere")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Take all room on `disk` but `leave` bytes."""
    filler = disk / f"filler-{leave}"
    state = os.statvfs(disk)
    take = state.f_bavail * state.f_frsize - leave
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, take)
    return filler


def assert_told_and_clean(bridge: Bridge, result: Result) -> None:
    error = result.messages[-1]
    assert (error["type"], error["code"], error["retryable"]) == ("error", "disk_full", True)
    assert "disk" in error["message"] and error["hint"].startswith("Free some space")
    wait_for(lambda: not list((bridge.data / "jobs").iterdir()))
    assert bridge.process.poll() is None


def assert_works_again(bridge: Bridge) -> None:
    with bridge.client() as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_picture_that_cannot_fit_is_refused_before_its_bytes(start: Starter, small_disk: Path) -> None:
    bridge = start(small_disk / "data")
    with bridge.client() as client:
        client.ask(job := new_job(), 3000, 3000)
        error = client.finish(job)
        assert "MB" in error.last("error")["message"]
        assert_told_and_clean(bridge, error)
    assert_works_again(bridge)


def test_pictures_on_their_way_count_before_their_bytes_are_there(start: Starter, small_disk: Path) -> None:
    """Two that fit one by one do not fit together."""
    bridge = start(small_disk / "data")
    with bridge.client() as one, bridge.client() as two:
        one.ask(first := new_job(), 2000, 2700)
        one.say("cancel", job=new_job())  # the answer to the next message comes after decompose was looked at
        one.say("estimate", backend="trial", width=1, height=1)
        assert one.hear()["code"] == "bad_picture"
        two.ask(second := new_job(), 2000, 2700)
        assert two.finish(second).last("error")["code"] == "disk_full"
        one.say("cancel", job=first)
        assert one.finish(first).last("error")["code"] == "cancelled"
        assert two.split(noise(2000, 1300)).kinds()[-1] == "done"


def test_the_disk_fills_while_the_picture_arrives(start: Starter, small_disk: Path) -> None:
    bridge = start(small_disk / "data")
    picture = noise(2000, 2700)
    with bridge.client() as client:
        client.ask(job := new_job(), 2000, 2700)
        pieces = list(protocol.chunks(picture.data.cast("B")))
        client.socket.send(pieces[0])
        part = bridge.data / "jobs" / job / "picture.raw.part"
        wait_for(lambda: part.exists() and part.stat().st_size == protocol.CHUNK)
        filler = fill(small_disk, leave=4 * MIB)
        for piece in pieces[1:]:
            client.socket.send(piece)
        assert_told_and_clean(bridge, client.finish(job))
    filler.unlink()
    assert_works_again(bridge)


def test_the_disk_fills_before_the_layers_are_written(start: Starter, small_disk: Path) -> None:
    bridge = start(small_disk / "data")
    with bridge.client() as client:
        job = client.start(noise(1500, 1500), prompt="slow 1")
        wait_for(lambda: client.hear()["type"] == "progress")
        filler = fill(small_disk, leave=10 * MIB)
        assert_told_and_clean(bridge, client.finish(job))
    filler.unlink()
    assert_works_again(bridge)


def test_the_disk_fills_to_the_last_byte(start: Starter, small_disk: Path) -> None:
    """Not even the journal has room: the job ends all the same, and its end is written down when there is."""
    bridge = start(small_disk / "data")
    with bridge.client() as client:
        job = client.start(noise(64, 64), prompt="slow 1")
        wait_for(lambda: client.hear()["type"] == "progress")
        filler = fill(small_disk, leave=0)
        result = client.finish(job)
        assert result.messages[-1]["type"] == "error" and result.last("error")["code"] == "disk_full"
        refused = client.split(noise(64, 64))
        assert refused.last("error")["code"] == "disk_full"
        filler.unlink()
        client.say("attach", job=job)
        assert client.finish(job).last("error")["code"] == "disk_full"
    assert_works_again(bridge)


# The same by a limit on a file's size, which needs no rights


def limit_files(nbytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, nbytes))


def test_a_picture_over_the_file_size_limit(start: Starter) -> None:
    bridge = start(preexec=limit_files(2 * MIB))
    with bridge.client() as client:
        assert_told_and_clean(bridge, client.split(noise(1000, 1000)))
        assert client.split(noise(300, 300)).kinds()[-1] == "done"


def test_a_journal_over_the_file_size_limit_ends_nothing_but_its_jobs(start: Starter) -> None:
    bridge = start(preexec=limit_files(128 * 1024))
    codes: list[str] = []
    with bridge.client() as client:
        for seed in range(40):  # each writes a few KB to the journal's log
            codes.append(client.split(noise(32, 32, seed)).messages[-1].get("code", "done"))
            if codes[-1] != "done":
                break
    assert codes[0] == "done" and codes[-1] == "disk_full"
    assert bridge.process.poll() is None and bridge.stop() == 0
    assert_works_again(start())
