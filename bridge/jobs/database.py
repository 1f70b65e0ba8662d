"""The store's file: opened, made, brought up to date, and put aside where it is damaged."""

import logging
import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import OutOfSpace, UnflattenError
from bridge.files.disk import private
from bridge.jobs.columns import have_columns, put_damaged_aside
from bridge.jobs.rows import COLUMNS

SCHEMA_VERSION = 3
BUSY_PATIENCE = 2000
"""Milliseconds that a write waits for another process's."""
COMPANIONS = ("", "-wal", "-shm")
"""What SQLite's files' names end with."""

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


_FULL = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_FSYNC}
"""What a quota or a file size limit gives beside SQLITE_FULL, while the file or its log grows."""
_REASONS = {
    sqlite3.SQLITE_READONLY: "it may not be written to",
    sqlite3.SQLITE_PERM: "it may not be opened",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_BUSY: "another program holds it",
    sqlite3.SQLITE_LOCKED: "another program holds it",
    sqlite3.SQLITE_IOERR: "the disk does not read or write it",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged",
}


class StoreFailed(UnflattenError):
    """The store of jobs cannot be read or written, for another reason than a full disk."""

    code = "store"
    kind = "resources"
    retryable = True

    def __init__(self, reason: str, path: Path | None = None) -> None:
        self.reason = reason
        where = f" ({path})" if path is not None else ""
        super().__init__(
            f"The list of jobs{where} cannot be used: {reason}.",
            "Look at who owns the file and its folder, and at the disk. Where nothing helps, move the file away: a new "
            "one is made.",
        )


class _Damaged(Exception):
    """The file holds nothing that can be used."""


def open_database(path: Path | None) -> sqlite3.Connection:
    """Open the file, made where there is none; None: in memory. One that is damaged is put aside: a bridge without a
    past is better than none. Raises UnflattenError."""
    if path is None:
        return _open(None)
    try:
        _put_strangers_aside(path)
        try:
            return _open(path)
        except _Damaged:
            log.error("the store of jobs was damaged and is put aside")
            _put_file_aside(path)
            return _open(path)
    except _Damaged:
        raise StoreFailed("it is damaged", path) from None
    except StoreFailed as error:
        raise StoreFailed(error.reason, path) from None
    except OSError as error:
        raise StoreFailed((error.strerror or "it cannot be opened").lower(), path) from None


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:  # SQLite gives its companion files the same mode: the rows hold the user's words
        os.close(private(str(path), os.O_RDWR | os.O_CREAT))
    with storing():
        db = connect(path)
        try:
            # NORMAL: a commit survives the process's death at once, a power cut from the next checkpoint on
            # (WAL never tears a row). FULL would sync the disk at each step of each job.
            db.executescript(
                f"PRAGMA busy_timeout = {BUSY_PATIENCE}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            )
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _Damaged
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise UnflattenError(
                    "The store of jobs was written by a newer Unflatten.",
                    "Run “python3 install.py” again to update this one.",
                )
            if version < SCHEMA_VERSION:
                _create(db, version)
            if not have_columns(db, "jobs", COLUMNS):
                raise _Damaged
            put_damaged_aside(db, "jobs", COLUMNS)
        except sqlite3.DatabaseError as error:
            db.close()
            # what is left of SQLITE_ERROR: a table that is no table, or an older one with other columns
            damages = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT)
            if _code(error) & 0xFF in damages:
                raise _Damaged from None
            raise
        except BaseException:
            db.close()
            raise
    return db


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection that reads damaged text, too: what is no UTF-8 in it is replaced."""
    db = sqlite3.connect(path or ":memory:", isolation_level=None)
    db.text_factory = _text
    return db


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _put_strangers_aside(path: Path) -> None:
    """A folder, or anything else that is no file, where one of SQLite's files should be."""
    for ending in COMPANIONS:
        file = path.with_name(path.name + ending)
        try:
            strange = not stat.S_ISREG(file.stat().st_mode)
        except FileNotFoundError:
            continue
        if strange:
            log.error("%s was no file and is put aside", file.name)
            file.rename(_free_name(file))


def _put_file_aside(path: Path) -> None:
    for ending in COMPANIONS[1:]:
        path.with_name(path.name + ending).unlink(missing_ok=True)
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside if not aside.is_dir() else _free_name(path))


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


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


@contextmanager
def storing() -> Generator[None]:
    """Turn SQLite's errors into OutOfSpace where the disk is full, and into StoreFailed where it is not."""
    try:
        yield
    except sqlite3.Error as error:
        code = _code(error)
        if code & 0xFF == sqlite3.SQLITE_FULL or code in _FULL:
            raise OutOfSpace(
                "The disk is full: the job could not be written down.", "Free some space on the disk, then try again."
            ) from None
        raise StoreFailed(_REASONS.get(code & 0xFF, f"SQLite says “{type(error).__name__}” ({code})")) from None


def _code(error: sqlite3.Error) -> int:
    """SQLite's own; 0 of what Python's module says itself."""
    return getattr(error, "sqlite_errorcode", 0)
