"""What must survive a crash: one SQLite table with a row for each job, written before anyone is told anything."""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bridge.errors import OutOfSpace, UnflattenError
from bridge.files.disk import private
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
from bridge.settings import Settings

SCHEMA_VERSION = 3
BUSY_PATIENCE = 2000
"""Milliseconds that a write waits for another process's."""

log = logging.getLogger("unflatten")

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id         TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    client     TEXT NOT NULL,
    state      TEXT NOT NULL,
    created    REAL NOT NULL,
    started    REAL,
    ended      REAL,
    batch      INTEGER NOT NULL,
    unattended INTEGER NOT NULL,
    rerun      INTEGER NOT NULL,
    expires    REAL,
    backend    TEXT NOT NULL,
    options    TEXT NOT NULL,
    settings   TEXT NOT NULL,
    source     TEXT NOT NULL,
    output     TEXT NOT NULL,
    same_as    TEXT NOT NULL,
    width      INTEGER NOT NULL,
    height     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    handle     TEXT,
    layers     TEXT,
    images     TEXT,
    report     TEXT,
    error      TEXT,
    delivered  INTEGER NOT NULL,
    nbytes     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (ended);
CREATE INDEX IF NOT EXISTS jobs_by_likeness ON jobs (same_as);
"""
_FROM_VERSION_2 = """
INSERT INTO jobs SELECT id, 'bridge', id, state, created, NULL, ended, batch,
    coalesce(json_extract(extra, '$.unattended'), 0), coalesce(json_extract(extra, '$.retry'), 1),
    json_extract(extra, '$.expires'), coalesce(backend, 'builtin'), '{}', settings,
    CASE WHEN width = 0 THEN json_array('awaited', json('{}')) ELSE
        json_array('raw', json_object('width', width, 'height', height, 'model', model, 'depth', depth,
            'channels', channels, 'view', json(iif(view, 'true', 'false')), 'profile_bytes', profile_bytes)) END,
    json_array('layers', json('{}')), digest, width, height, attempts, handle, layers, NULL, report,
    iif(error IS NULL, NULL, json_object('code', json_extract(error, '$[0]'), 'kind', 'internal',
        'message', json_extract(error, '$[1]'), 'hint', json_extract(error, '$[2]'),
        'retryable', json(iif(json_extract(error, '$[3]'), 'true', 'false')))),
    delivered, 0 FROM job;
DROP TABLE job;
"""
"""Jobs of before lanes: a remote one that was under way is still taken up by its handle."""

_SOURCES: dict[str, type[Source]] = {"raw": RawPicture, "file": ImageFile, "awaited": Awaited}
_OUTPUTS: dict[str, type[Output]] = {"layers": RawLayers, "images": LayerImages, "file": LayeredFile}


class Store:
    """The table. What a method wrote survives a kill −9 when it returns. Raises OutOfSpace where the disk is full."""

    def __init__(self, path: Path | None) -> None:
        """Open the table at `path`; None: one in memory, for jobs that nobody will ask for after this process.

        One that is damaged is put aside: a bridge without a past is better than none.
        """
        if path is None:
            self._db = _open(None)
            return
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise
            log.error("the store of jobs was damaged and is put aside")
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            path.replace(path.with_name(path.name + ".damaged"))
            self._db = _open(path)

    def close(self) -> None:
        self._db.close()

    def add(self, job: Job) -> None:
        """Write a new job down. Raises KeyError where its id is already there."""
        job.created = job.created or time.time()
        values = _to_row(job)
        marks = ", ".join("?" * len(values))
        with full_disk_said():
            try:
                self._db.execute(
                    f"INSERT INTO jobs ({', '.join(values)}, nbytes) VALUES ({marks}, 0)", (*values.values(),)
                )
            except sqlite3.IntegrityError:
                raise KeyError(job.id) from None

    def save(self, job: Job, *, durable: bool = False) -> None:
        """Bring a job's row up to date. durable: it must survive a power cut, too, as the name of a paid job must."""
        values = _to_row(job)
        assignments = ", ".join(f"{name} = ?" for name in values)
        with full_disk_said():
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                self._db.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*values.values(), job.id))
            finally:
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    def get(self, job_id: str) -> Job | None:
        row = self._jobs("WHERE id = ?", job_id)
        return row[0] if row else None

    def unfinished(self, owner: str) -> list[Job]:
        """The owner's jobs that have not ended, oldest first."""
        return self._jobs(f"WHERE owner = ? AND {_NOT_ENDED} ORDER BY created", owner, *ENDED)

    def ended(self) -> list[Job]:
        """Jobs that have ended, oldest first."""
        return self._jobs(f"WHERE NOT {_NOT_ENDED} ORDER BY ended", *ENDED)

    def equals(self, same_as: str) -> list[Job]:
        """Jobs that ask for the same, the latest first; none for an empty text."""
        return self._jobs("WHERE same_as = ? ORDER BY created DESC", same_as) if same_as else []

    def owners(self) -> list[str]:
        """Who has jobs that have not ended."""
        return [row[0] for row in self._db.execute(f"SELECT DISTINCT owner FROM jobs WHERE {_NOT_ENDED}", (*ENDED,))]

    def handles(self, except_for: str) -> tuple[str, ...]:
        """What services call the other jobs."""
        found = self._db.execute("SELECT handle FROM jobs WHERE handle <> '' AND id <> ?", (except_for,))
        return tuple(row[0] for row in found)

    def count_kept(self) -> int:
        """How many jobs have a result that can be fetched."""
        return self._db.execute("SELECT COUNT(*) FROM jobs WHERE state = ?", (State.DONE,)).fetchone()[0]

    def ids(self) -> set[str]:
        return {row[0] for row in self._db.execute("SELECT id FROM jobs")}

    def mark_delivered(self, job_id: str) -> None:
        """A client has been sent all of a job's result: who asks for the same again wants another."""
        with suppress(OutOfSpace), full_disk_said():  # then it is merely served once more
            self._db.execute("UPDATE jobs SET delivered = 1 WHERE id = ?", (job_id,))

    def forget(self, job_id: str) -> None:
        with full_disk_said():
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def note_size(self, job_id: str, nbytes: int) -> None:
        """Write down how much of the disk an ended job's files take."""
        with full_disk_said():
            self._db.execute("UPDATE jobs SET nbytes = ? WHERE id = ?", (nbytes, job_id))

    def overdue(self, *, ended_before: float, now: float, most_bytes: int) -> list[str]:
        """Ended jobs to be erased: those that ended before then, those that have expired, and the oldest beyond
        `most_bytes` together. Moments are in seconds since the epoch."""
        found = self._db.execute(
            "SELECT id FROM (SELECT id, ended, expires, SUM(nbytes) OVER (ORDER BY ended DESC, id) AS kept FROM jobs"
            " WHERE ended IS NOT NULL) WHERE ended < ? OR expires < ? OR kept > ?",
            (ended_before, now, most_bytes),
        )
        return [row[0] for row in found]

    def _jobs(self, where: str, *values: object) -> list[Job]:
        cursor = self._db.execute(f"SELECT * FROM jobs {where}", values)
        names = [each[0] for each in cursor.description]
        return [_from_row(dict(zip(names, row, strict=True))) for row in cursor]


_NOT_ENDED = f"state NOT IN ({', '.join('?' * len(ENDED))})"


def _open(path: Path | None) -> sqlite3.Connection:
    """path: None for a table in memory."""
    if path is not None:  # SQLite gives its companion files the same mode: the rows hold the user's words
        os.close(private(str(path), os.O_RDWR | os.O_CREAT))
    db = sqlite3.connect(path or ":memory:", isolation_level=None)
    try:
        with full_disk_said():
            # NORMAL: a commit survives the process's death at once, a power cut from the next checkpoint on
            # (WAL never tears a row). FULL would sync the disk at each step of each job.
            db.executescript(
                f"PRAGMA busy_timeout = {BUSY_PATIENCE}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            )
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                damaged = sqlite3.DatabaseError()
                damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damaged
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise UnflattenError(
                    "The store of jobs was written by a newer Unflatten.",
                    "Run “python3 install.py” again to update this one.",
                )
            if version < SCHEMA_VERSION:
                _create(db, version)
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection, version: int) -> None:
    """Make the table, and take over the rows of an older one; in one transaction, since two processes may come."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
            for statement in [*_TABLE.split(";"), *(_FROM_VERSION_2.split(";") if version == 2 else ())]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _to_row(job: Job) -> dict[str, object]:
    request = job.request
    return {
        "id": job.id,
        "owner": job.owner,
        "client": request.client,
        "state": job.state.value,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "batch": int(request.batch),
        "unattended": int(request.unattended),
        "rerun": int(request.rerun),
        "expires": request.expires,
        "backend": request.backend,
        "options": json.dumps(request.options),
        "settings": request.settings.model_dump_json(),
        "source": json.dumps(source_to_plain(request.source)),
        "output": json.dumps(output_to_plain(request.output)),
        "same_as": request.same_as,
        "width": job.width,
        "height": job.height,
        "attempts": job.attempts,
        "handle": job.handle,
        "layers": job.layers and json.dumps([[each.name, each.kind, each.rect] for each in job.layers]),
        "images": job.images and json.dumps([[each.nbytes, each.unsafe] for each in job.images]),
        "report": job.report and json.dumps(job.report),
        "error": job.error and json.dumps(job.error.as_dict()),
        "delivered": int(job.delivered),
    }


def _from_row(row: dict[str, Any]) -> Job:
    request = JobRequest(
        id=row["id"],
        client=row["client"],
        source=source_from_plain(json.loads(row["source"])),
        output=output_from_plain(json.loads(row["output"])),
        backend=row["backend"],
        settings=Settings.model_validate_json(row["settings"]),
        options=json.loads(row["options"]),
        batch=bool(row["batch"]),
        unattended=bool(row["unattended"]),
        rerun=bool(row["rerun"]),
        expires=row["expires"],
        same_as=row["same_as"],
    )
    return Job(
        request,
        owner=row["owner"],
        state=State(row["state"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        width=row["width"],
        height=row["height"],
        attempts=row["attempts"],
        handle=row["handle"],
        layers=None if row["layers"] is None else outlines_from_plain(json.loads(row["layers"])),
        images=None if row["images"] is None else images_from_plain(json.loads(row["images"])),
        report=None if row["report"] is None else json.loads(row["report"]),
        error=None if row["error"] is None else UnflattenError.from_dict(json.loads(row["error"])),
        delivered=bool(row["delivered"]),
    )


# The same plain values go to the worker


def source_to_plain(source: Source) -> list[Any]:
    return [next(name for name, kind in _SOURCES.items() if isinstance(source, kind)), asdict(source)]


def source_from_plain(told: list[Any]) -> Source:
    return _SOURCES[told[0]](**told[1])


def output_to_plain(output: Output) -> list[Any]:
    return [next(name for name, kind in _OUTPUTS.items() if isinstance(output, kind)), asdict(output)]


def output_from_plain(told: list[Any]) -> Output:
    return _OUTPUTS[told[0]](**told[1])


def outlines_from_plain(told: list[Any]) -> tuple[Outline, ...]:
    """From [name, kind, rect] of each."""
    return tuple(Outline(name, kind, (rect[0], rect[1], rect[2], rect[3])) for name, kind, rect in told)


def images_from_plain(told: list[Any]) -> tuple[SavedImage, ...]:
    """From [nbytes, unsafe] of each."""
    return tuple(SavedImage(nbytes, unsafe) for nbytes, unsafe in told)


@contextmanager
def full_disk_said() -> Generator[None]:
    """Turn SQLite's errors that mean a full disk into OutOfSpace."""
    try:
        yield
    except sqlite3.OperationalError as error:
        # SQLITE_FULL is a full disk; an I/O error while growing the WAL is what a quota or a file size limit gives.
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise OutOfSpace(
                "The disk is full: the job could not be written down.", "Free some space on the disk, then try again."
            ) from None
        raise
