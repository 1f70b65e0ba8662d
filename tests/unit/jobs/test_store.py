"""What must survive a crash."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import OutOfSpace, UnflattenError
from bridge.jobs.files import PICTURE, JobFiles
from bridge.jobs.job import (
    ENDED,
    Awaited,
    ImageFile,
    Job,
    JobRequest,
    LayeredFile,
    LayerImages,
    Outline,
    Output,
    RawLayers,
    RawPicture,
    SavedImage,
    Source,
    State,
)
from bridge.jobs.retention import sweep
from bridge.jobs.store import Store
from bridge.jobs.writing import write_layer
from bridge.settings import Settings

ROOT = Path(__file__).parents[3]


def job(number: int = 1, *, same_as: str = "", expires: float | None = None, **fields: Any) -> Job:
    source = RawPicture(4, 3)
    settings = Settings(prompt="a “fish”")
    request = JobRequest(
        f"{number:032x}", "c", source, RawLayers(), "trial", settings, same_as=same_as, expires=expires
    )
    return Job(request, owner="bridge", width=4, height=3, **fields)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "journal.sqlite")


@pytest.mark.parametrize(
    "source", [RawPicture(8, 9, "CMYKA", "F32", "RGBA", True, 99), ImageFile("/a/“b”.png"), Awaited()], ids=str
)
@pytest.mark.parametrize(
    "output", [RawLayers(), LayerImages("webp", check=True), LayeredFile("/o.ora", "ora", "/s.png")], ids=str
)
def test_every_field_comes_back(store: Store, tmp_path: Path, source: Source, output: Output) -> None:
    settings = Settings(prompt="ö", negative_prompt="ü", num_layers=3, seed=5, acceleration="high", guidance_scale=2)
    request = JobRequest(
        f"{1:032x}", "krita-1", source, output, "x", settings, {"shade": 3}, True, True, False, 9.5, "same"
    )
    outlines = (Outline("Text: ЁЖ", "text", (1, -2, 3, 4)), Outline("Background", "background", (0, 0, 9, 9)))
    error = UnflattenError("Broken.", "Mend it.", code="odd", retryable=True, kind="service")
    written = Job(request, "bridge", State.FAILED, 2.5, 2.6, 3.5, 8, 9, 2, "h", outlines)
    written.images, written.report, written.delivered = (SavedImage(7, True), SavedImage(8)), {"seed": 7}, True
    written.error = error
    store.add(written)
    store.close()
    read = Store(tmp_path / "journal.sqlite").get(written.id)
    assert read is not None and read.error is not None
    assert read.error.as_dict() == error.as_dict()
    read.error = written.error
    assert read == written


def test_the_jobs_of_the_version_before_are_taken_over(tmp_path: Path) -> None:
    """A remote job that was under way at the update is still known by its handle."""
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_2)
    store = Store(path)
    [remote] = store.unfinished("bridge")
    assert (remote.handle, remote.request.backend, remote.state) == ("order-7", "fal", State.RUNNING)
    assert remote.request.source == RawPicture(8, 9, "CMYKA", "U16", "RGBA", True, 5)
    assert remote.request.settings.prompt == "ö" and remote.request.same_as == "digest"
    [done] = [each for each in store.ended() if each.state is State.DONE]
    assert done.report == {"seed": 3} and done.layers == (Outline("Background", "background", (0, 0, 4, 3)),)
    [failed] = [each for each in [store.get("b" * 32)] if each is not None]
    assert failed.error is not None and failed.error.message == "Broken."


VERSION_2 = """
CREATE TABLE job (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, created REAL NOT NULL, ended REAL, batch INTEGER NOT NULL, backend TEXT,
    settings TEXT NOT NULL, channels TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, handle TEXT, layers TEXT, report TEXT, error TEXT,
    model TEXT NOT NULL DEFAULT 'RGBA', depth TEXT NOT NULL DEFAULT 'U8', view INTEGER NOT NULL DEFAULT 0,
    profile_bytes INTEGER NOT NULL DEFAULT 0, digest TEXT NOT NULL DEFAULT '', delivered INTEGER NOT NULL DEFAULT 0,
    extra TEXT) WITHOUT ROWID;
INSERT INTO job VALUES ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'running', 1, NULL, 0, 'fal', '{"prompt": "ö"}',
    'RGBA', 8, 9, 1, 'order-7', NULL, NULL, NULL, 'CMYKA', 'U16', 1, 5, 'digest', 0, NULL);
INSERT INTO job VALUES ('cccccccccccccccccccccccccccccccc', 'done', 1, 2, 0, NULL, '{}', 'BGRA', 4, 3, 1, NULL,
    '[["Background", "background", [0, 0, 4, 3]]]', '{"seed": 3}', NULL, 'RGBA', 'U8', 0, 0, '', 1, NULL);
INSERT INTO job VALUES ('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'failed', 1, 2, 0, NULL, '{}', 'RGBA', 4, 3, 1, NULL,
    NULL, NULL, '["odd", "Broken.", "Mend it.", true]', 'RGBA', 'U8', 0, 0, '', 0,
    '{"unattended": true, "expires": 7.5}');
PRAGMA user_version = 2;
"""


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_its_files_are_the_users_alone(store: Store, tmp_path: Path) -> None:
    store.add(job())
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("journal.sqlite*")} == {0o600}
    assert len(list(tmp_path.iterdir())) == 3, "the table, what was just written, and their index"


def test_a_table_in_memory_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(None)
    store.add(job())
    assert store.ids() == {job().id} and list(tmp_path.iterdir()) == []


def test_a_job_is_added_once(store: Store) -> None:
    store.add(job())
    with pytest.raises(KeyError):
        store.add(job())


@given(st.lists(st.sampled_from(list(State)), max_size=8))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_job_is_either_unfinished_or_ended(tmp_path_factory: pytest.TempPathFactory, states: list[State]) -> None:
    store = Store(tmp_path_factory.mktemp("j") / "journal.sqlite")
    for number, state in enumerate(states):
        store.add(job(number, state=state, created=1.0 + number, ended=float(number)))
    ended = [int(each.id, 16) for each in store.ended()]
    unfinished = [int(each.id, 16) for each in store.unfinished("bridge")]
    assert sorted(ended + unfinished) == list(range(len(states)))
    assert all(states[number] in ENDED for number in ended)
    assert ended == sorted(ended) and unfinished == sorted(unfinished)
    store.close()


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
        "store = Store(Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    store.add(Entry(id=f'{n:032x}', width=1, height=1, settings={})); print(n, flush=True); n += 1\n"
    )
    path = tmp_path / "journal.sqlite"
    process = subprocess.Popen([sys.executable, "-c", write, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().splitlines()
    process.wait(5)
    ids = Store(path).ids()
    assert {f"{int(number):032x}" for number in said if number.strip()} <= ids


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UnflattenError, match="newer Unflatten"):
        Store(path)


@pytest.mark.parametrize("damage", ["not a database", "torn"])
def test_a_damaged_store_is_put_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.sqlite"
    if damage == "torn":
        store = Store(path)
        for number in range(300):
            store.add(job(number))
        store.close()
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + bytes(range(256)) * 32 + whole[12_288:])
    else:
        path.write_bytes(b"no database at all " * 300)
    fresh = Store(path)
    assert fresh.ids() == set()
    fresh.add(job())
    assert path.with_name("journal.sqlite.damaged").exists()


# Results and how long they are kept


def keep(store: Store, files: JobFiles, number: int, *, days_ago: float, nbytes: int = 48, **fields: Any) -> str:
    written = job(number, state=State.DONE, created=1.0, ended=time.time() - days_ago * 86_400, **fields)
    incoming = files.receive(written.id, 48)
    incoming.write(bytes(48))
    incoming.finish()
    write_layer(files.folder(written.id), 0, np.zeros((1, nbytes // 4, 4), np.uint8), "RGBA")
    store.add(written)
    store.note_size(written.id, files.used(written.id))
    return written.id


async def test_only_what_is_older_than_its_days_is_erased(store: Store, tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    old = keep(store, files, 1, days_ago=7.1)
    young = keep(store, files, 2, days_ago=6.9)
    await sweep(store, files, days=7)
    assert store.ids() == {young}
    assert files.folder(young).exists() and not files.folder(old).exists()


async def test_what_has_expired_is_erased_however_young(store: Store, tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    keep(store, files, 1, days_ago=0.1, expires=time.time() - 1)
    later = keep(store, files, 2, days_ago=0.1, expires=time.time() + 99)
    store.add(job(3, expires=1.0))
    await sweep(store, files, days=7)
    assert store.ids() == {later, job(3).id}, "a job that has not ended is nobody's to erase"


def test_the_oldest_make_room_beyond_the_share(store: Store, tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    jobs = [keep(store, files, number, days_ago=number, nbytes=1000) for number in range(4)]
    overdue = store.overdue(ended_before=0, now=0, most_bytes=2500)
    assert sorted(overdue) == sorted(jobs[2:])


def test_thousands_of_results_are_looked_through_in_no_time(store: Store) -> None:
    """By an index and a query: reading the rows themselves would hold up every client."""
    for number in range(2000):
        store.add(job(number, state=State.DONE, created=1.0, ended=1e12, report={"notes": ["x" * 2000]}))
    plan = [row[3] for row in store._db.execute("EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE ended < 5")]
    assert "USING" in plan[0] and "jobs_by_end" in plan[0]
    assert store.overdue(ended_before=5, now=5, most_bytes=1) == []


# Their files


def test_a_picture_has_its_name_only_when_whole(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    job_id = job().id
    incoming = files.receive(job_id, 6)
    incoming.write(b"abc")
    assert not files.has_picture(job_id, 6) and not (files.folder(job_id) / PICTURE).exists()
    incoming.write(b"def")
    incoming.finish()
    assert files.has_picture(job_id, 6) and not files.has_picture(job_id, 7)
    assert (files.folder(job_id) / PICTURE).read_bytes() == b"abcdef"


def test_a_job_folder_is_made_once(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    files.receive(job().id, 6)
    with pytest.raises(FileExistsError):
        files.receive(job().id, 6)


@pytest.mark.parametrize("name", ["", "..", "../" + "a" * 29, "A" * 32, "a" * 33, "a" * 31 + "\n"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        JobFiles(tmp_path / "jobs").folder(name)


def test_a_disk_without_room_is_said_before_anything_is_made(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    with pytest.raises(OutOfSpace, match="not enough room"):
        files.receive(job().id, 2**60)
    assert list(files.root.iterdir()) == []


def test_strays_are_folders_that_the_store_does_not_know(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "jobs")
    for number in (1, 2):
        files.receive(job(number).id, 6)
    (files.root / "something of the user’s").mkdir()
    assert files.strays({job(1).id}) == [job(2).id]
