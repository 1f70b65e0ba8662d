"""A store that is damaged, closed, misplaced or of another time: the rest lives, and what is wrong is said."""

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bridge.clock import now
from bridge.errors import OutOfSpace, UnflattenError
from bridge.jobs.columns import put_damaged_aside
from bridge.jobs.database import StoreFailed, storing
from bridge.jobs.files import JobFiles
from bridge.jobs.job import Job, JobRequest, Outline, RawLayers, RawPicture, SavedImage, State
from bridge.jobs.retention import sweep
from bridge.jobs.rows import COLUMNS
from bridge.jobs.store import Store
from bridge.settings import Settings
from tests.unit.trial.damage import DAMAGES, damage

SOUND = "f" * 32
HURT = "e" * 32


def written(path: Path) -> None:
    """A store with two jobs, one of which will be hurt."""
    store = Store(path)
    for job_id in (SOUND, HURT):
        request = JobRequest(job_id, "c", RawPicture(40, 30), RawLayers(), "trial", Settings(prompt="ö"), expires=9e9)
        job = Job(request, "bridge", State.DONE, now() - 9, now() - 8, now() - 7, 40, 30, 1, "h")
        job.layers, job.images = (Outline("Ä", "text", (1, 2, 3, 4)),), (SavedImage(7, True),)
        job.report, job.error = {"seed": 7}, UnflattenError("Broken.", "Mend it.")
        store.add(job)
    store.close()


@pytest.mark.parametrize("column", [each.name for each in COLUMNS])
@pytest.mark.parametrize("kind", DAMAGES)
async def test_one_damaged_column_of_one_row_costs_at_most_that_row(tmp_path: Path, column: str, kind: str) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)
    damage(path, "jobs", column, DAMAGES[kind], f"id = '{HURT}'")
    store = Store(path)
    assert SOUND in store.ids() and all(isinstance(each, str) for each in store.ids())
    assert store.get(SOUND) is not None
    ended = store.ended()
    assert SOUND in [each.id for each in ended]
    read = [*ended, *store.unfinished("bridge"), *store.equals("garbage")]
    for job in read:
        assert job.state in State and isinstance(job.request.settings.prompt, str)
        store.save(job)
    assert all(isinstance(each, str) for each in (*store.owners(), *store.handles("")))
    store.count_kept()
    store.note_size(SOUND, 5)
    await sweep(store, JobFiles(tmp_path / "jobs"), days=7)
    assert SOUND in store.ids()
    store.add(Job(JobRequest("d" * 32, "c", RawPicture(40, 30), RawLayers(), "trial")))
    store.close()
    assert SOUND in Store(path).ids(), "and it opens again"


def test_what_is_put_aside_is_said_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)
    damage(path, "jobs", "state", "asleep", f"id = '{HURT}'")
    with caplog.at_level(logging.ERROR):
        assert Store(path).ids() == {SOUND}
    assert "1 damaged rows of the table jobs are put aside" in caplog.text
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT id, handle FROM damaged_jobs").fetchall() == [(HURT, "h")]


def test_a_row_that_is_damaged_while_the_store_is_open_is_put_aside_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)
    store = Store(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE jobs SET source = '[7]' WHERE id = ?", (HURT,))
        db.commit()
    assert store.get(HURT) is None and store.get(SOUND) is not None
    assert store.ids() == {SOUND}


def test_sound_rows_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        put_damaged_aside(db, "jobs", COLUMNS)
        assert [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'damaged%'")] == []


# The file


@pytest.mark.parametrize("kept", [0, 1, 50, 100, 4096, 6000, 8192])
def test_a_store_cut_short_is_opened_or_put_aside(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)
    path.write_bytes(path.read_bytes()[:kept])
    store = Store(path)
    store.add(Job(JobRequest("d" * 32, "c", RawPicture(40, 30), RawLayers(), "trial")))
    assert "d" * 32 in store.ids()


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", ".damaged"])
def test_a_folder_where_a_file_should_be_is_put_aside(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "journal.sqlite"
    if ending == ".damaged":
        path.write_bytes(b"no database at all " * 300)
    folder = tmp_path / f"journal.sqlite{ending}"
    folder.mkdir()
    (folder / "a picture.png").write_bytes(b"")
    assert Store(path).ids() == set()
    assert len(list(tmp_path.rglob("a picture.png"))) == 1, "and nothing in it is lost"


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE jobs (id TEXT)",
        "CREATE TABLE other (id TEXT)",
        "CREATE VIEW jobs AS SELECT 1",
        "CREATE TABLE job (id TEXT); INSERT INTO job VALUES ('x')",
    ],
)
@pytest.mark.parametrize("version", [-1, 0, 2, 3])
def test_a_database_that_is_not_ours_is_put_aside(tmp_path: Path, schema: str, version: int) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"{schema}; PRAGMA user_version = {version};")
    store = Store(path)
    assert store.ids() == set()
    store.add(Job(JobRequest("d" * 32, "c", RawPicture(40, 30), RawLayers(), "trial")))


def test_a_store_that_may_not_be_opened_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreFailed, match=f"list of jobs .{path}. cannot be used: permission denied") as told:
        Store(path)
    assert "disk is full" not in told.value.message and told.value.hint


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, OutOfSpace),
        (sqlite3.SQLITE_IOERR_WRITE, OutOfSpace),
        (sqlite3.SQLITE_IOERR_READ, StoreFailed),
        (sqlite3.SQLITE_IOERR_SHORT_READ, StoreFailed),
        (sqlite3.SQLITE_READONLY, StoreFailed),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreFailed),
        (sqlite3.SQLITE_CANTOPEN, StoreFailed),
        (sqlite3.SQLITE_BUSY, StoreFailed),
        (sqlite3.SQLITE_CORRUPT, StoreFailed),
        (0, StoreFailed),
    ],
)
def test_only_a_full_disk_is_called_so(code: int, kind: type[UnflattenError]) -> None:
    error = sqlite3.OperationalError("mermaid")
    error.sqlite_errorcode = code
    with pytest.raises(kind) as told, storing():
        raise error
    assert ("disk is full" in told.value.message) == (kind is OutOfSpace) and "mermaid" not in told.value.message


def test_a_store_that_another_program_holds_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    written(path)
    store = Store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="another program holds it"):
            store.note_size(SOUND, 5)
        with suppress(sqlite3.Error):
            other.execute("ROLLBACK")
    store.note_size(SOUND, 5)
