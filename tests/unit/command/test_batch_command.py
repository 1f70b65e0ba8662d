"""`unflatten batch`: goes on where it stopped, past what fails, and never over what is not its own."""

import json
import os
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import psutil
import pytest
from PIL import Image

from bridge.command.batch import LOCK, alone, worker_count
from bridge.files.save import CannotSave
from tests.unit.command.running import CommandLine, Here, shapes

GIB = 2**30


OURS = {".unflatten-batch.json", LOCK}
"""What a batch keeps in the folder for itself."""


def batch(unflatten: CommandLine, *arguments: object) -> subprocess.CompletedProcess[str]:
    return unflatten("batch", *arguments, "-o", "out", "--backend", "trial")


def times(unflatten: CommandLine) -> dict[str, int]:
    """When each file in the folder was written, but for the batch's own list."""
    files = (unflatten.folder / "out").iterdir()
    return {file.name: file.stat().st_mtime_ns for file in files if not file.name.startswith(".")}


def test_it_skips_what_is_done_goes_past_what_fails_and_does_anew_what_changed(unflatten: CommandLine) -> None:
    folder = unflatten.folder / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.jpg"):
        shapes(folder / name)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")

    first = batch(unflatten, "pictures")
    assert first.returncode == 1
    assert first.stderr.splitlines()[-1] == "3 split, 0 done before, 1 failed."
    assert "bad.png: failed. bad.png is not a picture that can be opened here." in first.stderr
    before = times(unflatten)
    assert set(before) == {"a.ora", "b.ora", "c.ora"}

    (folder / "bad.png").unlink()
    shapes(folder / "bad.png")
    shapes(folder / "b.png", (200, 300))
    second = batch(unflatten, "pictures")
    assert second.returncode == 0, second.stderr
    assert second.stderr.splitlines()[-1] == "2 split, 2 done before, 0 failed."
    after = times(unflatten)
    assert (after["a.ora"], after["c.ora"]) == (before["a.ora"], before["c.ora"])
    with zipfile.ZipFile(unflatten.folder / "out" / "b.ora") as archive:
        assert b'w="200" h="300"' in archive.read("stack.xml")

    third = batch(unflatten, "pictures", "--seed", "5")  # another wish: all anew
    assert third.stderr.splitlines()[-1] == "4 split, 0 done before, 0 failed."


def test_a_result_that_was_painted_on_is_not_replaced(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    assert batch(unflatten, "a.png").returncode == 0
    (unflatten.folder / "out" / "a.ora").write_bytes(b"painted on")
    assert batch(unflatten, "a.png").stderr.splitlines()[-1] == "0 split, 1 done before, 0 failed."
    shapes(unflatten.folder / "a.png", (100, 100))
    again = batch(unflatten, "a.png")
    assert again.returncode == 1 and "was edited since it was made" in again.stderr
    assert (unflatten.folder / "out" / "a.ora").read_bytes() == b"painted on"


def test_two_pictures_of_one_name_get_two_results(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    shapes(unflatten.folder / "a.jpg")
    assert batch(unflatten, "a.png", "a.jpg", "--format", "png").returncode == 0
    made = {path.name for path in (unflatten.folder / "out").iterdir() if not path.name.startswith(".")}
    assert made == {"a.png-layers", "a.jpg-layers"}
    assert (unflatten.folder / "out" / "a.png-layers" / "stack.json").is_file()


def test_a_process_that_dies_costs_only_its_own_picture(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "wide.png", (300, 200))
    shapes(unflatten.folder / "high.png", (200, 300))
    ended = batch(unflatten, "wide.png", "high.png", "--workers", "1", "--prompt", "die 9 wide")
    assert ended.returncode == 1
    failed, split, summary = ended.stderr.splitlines()
    assert failed.startswith("wide.png: failed. The splitter was ended in the middle, by the system or by another ")
    assert split.startswith("high.png: 5 layers in out/high.ora") and summary == "1 split, 0 done before, 1 failed."
    assert {path.name for path in (unflatten.folder / "out").iterdir()} == {"high.ora", *OURS}


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_ctrl_c_leaves_no_process_and_nothing_half_done_and_it_goes_on_later(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    shapes(unflatten.folder / "b.png", (300, 100))
    slow = ["--backend", "trial", "--prompt", "slow 60"]
    process = unflatten.start("batch", "a.png", "b.png", "-o", "out", *slow, "--workers", "2")
    workers = unflatten.wait_for_work(process, 2)
    os.killpg(process.pid, signal.SIGINT)
    asked = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - asked < 10
    assert err.splitlines()[-1] == "Stopped. Run the same command again to go on."
    assert "Traceback" not in err
    assert not [worker for worker in workers if psutil.pid_exists(worker)]
    assert {path.name for path in (unflatten.folder / "out").iterdir()} == OURS
    assert batch(unflatten, "a.png", "b.png").returncode == 0


def test_two_batches_do_not_work_in_one_folder(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    process = unflatten.start("batch", "a.png", "-o", "out", "--backend", "trial", "--prompt", "slow 60")
    try:
        unflatten.wait_for_work(process, 1)
        second = batch(unflatten, "a.png")
        assert second.returncode == 1 and "Another batch is working in out" in second.stderr
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)
    assert batch(unflatten, "a.png").returncode == 0  # one that was killed does not keep the folder


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
def test_who_waited_for_the_folder_has_it_alone(tmp_path: Path) -> None:
    """A lock whose file was removed at its end is held by whoever had opened it, on a file that nobody else sees."""
    import fcntl

    with alone(tmp_path):
        waiting = open(tmp_path / LOCK)  # noqa: SIM115
        with pytest.raises(BlockingIOError):
            fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(CannotSave, match="Another batch is working"), alone(tmp_path):
            pass
    with alone(tmp_path):
        pass


def test_a_broken_list_makes_what_lies_there_the_users_own(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    assert batch(unflatten, "a.png").returncode == 0
    before = (unflatten.folder / "out" / "a.ora").read_bytes()
    for number, broken in enumerate(("{", json.dumps({"done": {"a.ora": {"no": "such"}}})), 1):
        (unflatten.folder / "out" / ".unflatten-batch.json").write_text(broken)
        assert batch(unflatten, "a.png", "--seed", number).returncode == 0
        assert (unflatten.folder / "out" / "a.ora").read_bytes() == before
        assert len(list((unflatten.folder / "out").glob("*.ora"))) == 1 + number


def test_no_pictures_there(here: Here) -> None:
    (here.folder / "empty").mkdir()
    ended = here("batch", "empty", "-o", "out")
    assert ended.returncode == 1 and ended.stderr.startswith("There are no pictures there.\nTaken are PNG,")


def test_results_beside_their_pictures_are_not_taken_for_pictures(unflatten: CommandLine) -> None:
    folder = unflatten.folder / "out"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "plain.png")
    shapes(folder / "a.png")
    assert batch(unflatten, "out").returncode == 0
    before = times(unflatten)
    again = batch(unflatten, "out")
    assert again.stderr.splitlines()[-1] == "0 split, 2 done before, 0 failed."
    assert times(unflatten) == before


@pytest.mark.parametrize(
    ("pictures", "cores", "memory", "workers"),
    [(100, 2, 8 * GIB, 1), (100, 16, 64 * GIB, 8), (3, 16, 64 * GIB, 3), (100, 16, 5 * GIB, 2), (0, 1, 0, 1)],
)
def test_as_many_workers_as_help(pictures: int, cores: int, memory: int, workers: int) -> None:
    assert worker_count(pictures, cores, memory) == workers


def test_a_folder_that_cannot_be_made(here: Here) -> None:
    shapes(here.folder / "a.png")
    (here.folder / "out").write_text("a file")
    ended = here("batch", "a.png", "-o", "out")
    assert ended.returncode == 1 and len(ended.stderr.splitlines()) == 2 and "cannot be made" in ended.stderr
