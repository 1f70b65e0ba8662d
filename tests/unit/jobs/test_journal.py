"""What must survive a crash."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bridge.jobs.journal import ENDED, Entry, Journal, Outline, State
from bridge.jobs.keeping import overdue, sweep
from bridge.jobs.spool import PICTURE, Spool, write_layer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import OutOfSpace, UnflattenError

ROOT = Path(__file__).parents[3]


def entry(number: int = 1, **fields: object) -> Entry:
    return Entry(id=f"{number:032x}", width=4, height=3, settings={"prompt": "a “fish”"}, **fields)  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def test_every_field_comes_back(journal: Journal, tmp_path: Path) -> None:
    error = UnflattenError("Broken.", "Mend it.", code="odd", retryable=True)
    outlines = (Outline("Text: ЁЖ", "text", (1, -2, 3, 4)), Outline("Background", "background", (0, 0, 9, 9)))
    written = entry(state=State.FAILED, batch=True, backend="x", created=2.5, ended=3.5, attempts=2, handle="h")
    written.layers, written.report, written.error = outlines, {"seed": 7, "notes": ["…"]}, error
    journal.add(written)
    journal.close()
    read = Journal(tmp_path / "journal.sqlite").get(written.id)
    assert read is not None and read.error is not None
    assert (read.error.code, read.error.message, read.error.hint, read.error.retryable) == (
        "odd",
        "Broken.",
        "Mend it.",
        True,
    )
    read.error = written.error
    assert read == written


def test_a_table_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path, old = tmp_path / "journal.sqlite", entry(7, state=State.DONE, created=1.0, ended=2.0)
    newest = Journal(path)
    newest.add(old)
    newest.close()
    db = sqlite3.connect(path)
    for column in ("model", "depth", "view", "profile_bytes", "digest", "delivered", "extra"):
        db.execute(f"ALTER TABLE job DROP COLUMN {column}")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    journal = Journal(path)
    assert journal.get(old.id) == old
    deep = entry(8, model="CMYKA", depth="F32", view=True, profile_bytes=99, extra={"door": ["ö"]}, digest="d")
    journal.add(deep)
    assert journal.get(deep.id) == deep
    assert deep.nbytes == 4 * 3 * (5 * 4 + 4) + 99


def test_a_job_is_added_once(journal: Journal) -> None:
    journal.add(entry())
    with pytest.raises(KeyError):
        journal.add(entry())


@given(st.lists(st.sampled_from(list(State)), max_size=8))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_job_is_either_unfinished_or_ended(tmp_path_factory: pytest.TempPathFactory, states: list[State]) -> None:
    journal = Journal(tmp_path_factory.mktemp("j") / "journal.sqlite")
    for number, state in enumerate(states):
        journal.add(entry(number, state=state, created=1.0 + number, ended=float(number)))
    ended = [int(each.id, 16) for each in journal.ended()]
    unfinished = [int(each.id, 16) for each in journal.unfinished()]
    assert sorted(ended + unfinished) == list(range(len(states)))
    assert all(states[number] in ENDED for number in ended)
    assert ended == sorted(ended) and unfinished == sorted(unfinished)
    journal.close()


def test_the_last_four_states_end_a_job() -> None:
    assert [state.value for state in State] == [
        *("queued", "running", "finishing"),
        *("done", "failed", "cancelled", "interrupted"),
    ]
    assert [state for state in State if state.ended] == list(State)[3:]


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    """A process writes, says so, and is killed at once: all that it said is there."""
    write = (
        "import sys; from pathlib import Path; from bridge.jobs.journal import *\n"
        "journal = Journal(Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    journal.add(Entry(id=f'{n:032x}', width=1, height=1, settings={})); print(n, flush=True); n += 1\n"
    )
    path = tmp_path / "journal.sqlite"
    process = subprocess.Popen([sys.executable, "-c", write, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().splitlines()
    process.wait(5)
    ids = Journal(path).ids()
    assert {f"{int(number):032x}" for number in said if number.strip()} <= ids


def test_a_newer_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UnflattenError, match="newer Unflatten"):
        Journal(path)


@pytest.mark.parametrize("damage", ["not a database", "torn"])
def test_a_damaged_journal_is_put_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.sqlite"
    if damage == "torn":
        journal = Journal(path)
        for number in range(300):
            journal.add(entry(number))
        journal.close()
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + bytes(range(256)) * 32 + whole[12_288:])
    else:
        path.write_bytes(b"no database at all " * 300)
    fresh = Journal(path)
    assert fresh.ids() == set()
    fresh.add(entry())
    assert path.with_name("journal.sqlite.damaged").exists()


# Results and how long they are kept


def keep(journal: Journal, spool: Spool, number: int, *, days_ago: float, nbytes: int = 48) -> str:
    written = entry(number, state=State.DONE, created=1.0, ended=time.time() - days_ago * 86_400)
    incoming = spool.receive(written.id, 48)
    incoming.write(bytes(48))
    incoming.finish()
    write_layer(spool.folder(written.id), 0, [memoryview(bytes(nbytes))])
    journal.add(written)
    return written.id


async def test_only_what_is_older_than_its_days_is_erased(journal: Journal, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "jobs")
    old = keep(journal, spool, 1, days_ago=7.1)
    young = keep(journal, spool, 2, days_ago=6.9)
    await sweep(journal, spool, days=7)
    assert journal.ids() == {young}
    assert spool.folder(young).exists() and not spool.folder(old).exists()


def test_the_oldest_make_room_beyond_the_share(journal: Journal, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "jobs")
    jobs = [keep(journal, spool, number, days_ago=number, nbytes=1000) for number in range(4)]
    assert overdue(journal, spool, days=99, most_bytes=2500) == jobs[2:]


# The spool


def test_a_picture_has_its_name_only_when_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "jobs")
    job = entry().id
    incoming = spool.receive(job, 6)
    incoming.write(b"abc")
    assert not spool.has_picture(job, 6) and not (spool.folder(job) / PICTURE).exists()
    incoming.write(b"def")
    incoming.finish()
    assert spool.has_picture(job, 6) and not spool.has_picture(job, 7)
    assert (spool.folder(job) / PICTURE).read_bytes() == b"abcdef"


def test_a_job_folder_is_made_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "jobs")
    spool.receive(entry().id, 6)
    with pytest.raises(FileExistsError):
        spool.receive(entry().id, 6)


@pytest.mark.parametrize("name", ["", "..", "../" + "a" * 29, "A" * 32, "a" * 33, "a" * 31 + "\n"])
def test_no_name_leads_out_of_the_spool(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        Spool(tmp_path / "jobs").folder(name)


def test_a_disk_without_room_is_said_before_anything_is_made(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "jobs")
    with pytest.raises(OutOfSpace, match="not enough room"):
        spool.receive(entry().id, 2**60)
    assert list(spool.root.iterdir()) == []


def test_strays_are_folders_that_the_journal_does_not_know(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "jobs")
    for number in (1, 2):
        spool.receive(entry(number).id, 6)
    (spool.root / "something of the user’s").mkdir()
    assert spool.strays({entry(1).id}) == [entry(2).id]
