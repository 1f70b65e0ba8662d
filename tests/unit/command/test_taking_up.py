"""What a command has handed to a service is written down in the bridge's store, so that a second run finds it."""

import os
import signal
import sqlite3
import stat
import subprocess
import time
from contextlib import closing

import pytest

from tests.unit.command.running import CommandLine, shapes
from tests.unit.trial.backends import notes
from tests.unit.trial.running import wait_for

DAY = 86_400.0


@pytest.fixture
def unflatten(unflatten: CommandLine) -> CommandLine:
    """`unflatten` that may send pictures to the trial service, and a picture."""
    assert unflatten("set", "remote-allowed", "yes").returncode == 0
    shapes(unflatten.folder / "a.png")
    return unflatten


def words(*more: object, output: str = "a.ora") -> list[object]:
    return ["split", "a.png", "-o", output, "--backend", "elsewhere", *more]


def kill_at_work(unflatten: CommandLine, *arguments: object) -> None:
    """Run a command, and kill it once its picture is at the service."""
    before = len(notes(unflatten.data, "ordered"))
    process = unflatten.start(*arguments)
    wait_for(lambda: len(notes(unflatten.data, "ordered")) > before, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def jobs(unflatten: CommandLine) -> list[tuple[str, str | None]]:
    """State and handle of the jobs in the store."""
    with closing(sqlite3.connect(unflatten.data / "journal.sqlite")) as db:
        return db.execute("SELECT state, handle FROM jobs ORDER BY created").fetchall()


SLOW = ("--option", "seconds=120", "--option", "wall=600")


def orders(unflatten: CommandLine) -> int:
    return len(notes(unflatten.data, "ordered"))


def done(ended: subprocess.CompletedProcess[str]) -> bool:
    assert ended.returncode == 0, ended.stderr
    return True


def test_another_picture_other_settings_another_result_and_other_options_are_sent_anew(unflatten: CommandLine) -> None:
    kill_at_work(unflatten, *words("--option", "seconds=1.5", "--seed", "1"))
    [(_, handle)] = jobs(unflatten)
    assert handle == notes(unflatten.data, "ordered")[0]
    shapes(unflatten.folder / "b.png", (300, 100))
    others = [
        words("--option", "seconds=1.5", "--seed", "2"),
        words("--option", "seconds=1.5", "--seed", "1", output="b.ora"),
        words("--option", "seconds=1", "--seed", "1"),
        ["split", "b.png", "-o", "a.ora", "--force", *words("--option", "seconds=1.5", "--seed", "1")[4:]],
    ]
    for number, other in enumerate(others, 2):
        assert done(unflatten(*other, *([] if "--force" in other else ["--force"])))
        assert orders(unflatten) == number
    assert jobs(unflatten) == [("interrupted", handle)], "nothing is kept but what the service may still have"
    assert done(unflatten(*words("--option", "seconds=1.5", "--seed", "1", "--force")))
    assert orders(unflatten) == 5 and jobs(unflatten) == []


def test_what_is_written_down_is_the_users_alone(unflatten: CommandLine) -> None:
    kill_at_work(unflatten, *words(*SLOW, "--prompt", "a secret"))
    assert stat.S_IMODE(unflatten.data.stat().st_mode) == 0o700
    for file in unflatten.data.glob("journal.sqlite*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_nobody_came_back_for_is_forgotten(unflatten: CommandLine) -> None:
    for number in (1, 2):
        kill_at_work(unflatten, *words(*SLOW, "--seed", number))
    long_ago = time.time() - 31 * DAY
    with closing(sqlite3.connect(unflatten.data / "journal.sqlite")) as db, db:
        db.execute("UPDATE jobs SET created = ?, ended = ? WHERE settings LIKE '%\"seed\":1,%'", (long_ago, long_ago))
    assert done(unflatten(*words(output="b.ora")))
    assert [handle for _, handle in jobs(unflatten)] == [notes(unflatten.data, "ordered")[1]]


def test_nothing_is_sent_that_cannot_be_written_down(unflatten: CommandLine) -> None:
    (unflatten.data / "journal.sqlite").symlink_to("journal.sqlite")  # leads round in a circle
    told = unflatten(*words())
    assert told.returncode == 1 and told.stderr.startswith(f"The list of jobs ({unflatten.data}")
    assert "Look at who owns the file" in told.stderr and len(told.stderr.splitlines()) == 2
    assert orders(unflatten) == 0


def test_a_command_that_lives_keeps_its_jobs(unflatten: CommandLine) -> None:
    """Another command that opens the store takes for cut off only what belongs to a process that is gone."""
    process = unflatten.start(*words(*SLOW))
    wait_for(lambda: orders(unflatten) == 1, 60)
    assert done(unflatten(*words(output="b.ora")))
    assert [state for state, _ in jobs(unflatten)] == ["running"]
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and told.splitlines()[-1] == "Cancelled. elsewhere had not begun: nothing is paid."
    assert len(notes(unflatten.data, "called off")) == 1


def test_few_pictures_are_packed_at_a_time(unflatten: CommandLine) -> None:
    """Each is in memory meanwhile."""
    for number in range(12):
        shapes(unflatten.folder / f"{number}.png", (64, 64 + number))
    pictures = [f"{number}.png" for number in range(12)]
    assert done(unflatten("batch", *pictures, "-o", "out", "--backend", "elsewhere"))
    at_once, most = 0, 0
    for told in notes(unflatten.data, "packing"):
        at_once += 1 if told == "begun" else -1
        most = max(most, at_once)
    assert at_once == 0 and 1 <= most <= 2 and orders(unflatten) == 12


def test_a_command_connects_to_its_service_once(unflatten: CommandLine) -> None:
    assert done(unflatten(*words()))
    assert notes(unflatten.data, "connected") == ["elsewhere"] == notes(unflatten.data, "closed")
    shapes(unflatten.folder / "b.png")
    assert done(unflatten("batch", "a.png", "b.png", "-o", "out", "--backend", "elsewhere"))
    assert notes(unflatten.data, "connected") == 2 * ["elsewhere"] == notes(unflatten.data, "closed")
