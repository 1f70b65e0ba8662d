"""What must survive a crash: one SQLite table with a row for each job, written before anyone is told anything."""

import json
import logging
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from bridge import protocol
from bridge.errors import OutOfSpace, UnflattenError

SCHEMA_VERSION = 2

log = logging.getLogger("unflatten")

_TABLE = """
CREATE TABLE IF NOT EXISTS job (
    id        TEXT PRIMARY KEY,
    state     TEXT NOT NULL,
    created   REAL NOT NULL,
    ended     REAL,
    batch     INTEGER NOT NULL,
    backend   TEXT,
    settings  TEXT NOT NULL,
    channels  TEXT NOT NULL,
    width     INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,
    handle    TEXT,
    layers    TEXT,
    report    TEXT,
    error     TEXT,
    model     TEXT NOT NULL DEFAULT 'RGBA',
    depth     TEXT NOT NULL DEFAULT 'U8',
    view      INTEGER NOT NULL DEFAULT 0,
    profile_bytes INTEGER NOT NULL DEFAULT 0,
    digest    TEXT NOT NULL DEFAULT '',
    delivered INTEGER NOT NULL DEFAULT 0,
    extra     TEXT
) WITHOUT ROWID
"""
_ADDED = {
    # by the version of the table that first had them: what an older table gets on the way
    2: ("model TEXT NOT NULL DEFAULT 'RGBA'", "depth TEXT NOT NULL DEFAULT 'U8'", "view INTEGER NOT NULL DEFAULT 0",
        "profile_bytes INTEGER NOT NULL DEFAULT 0", "digest TEXT NOT NULL DEFAULT ''",
        "delivered INTEGER NOT NULL DEFAULT 0", "extra TEXT"),
}  # fmt: skip


class State(StrEnum):
    """A job's states; the last four end it."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.INTERRUPTED})


@dataclass(frozen=True)
class Outline:
    """One layer as the `stack` message tells of it; rect: (left, top, width, height) in canvas pixels."""

    name: str
    kind: str
    rect: tuple[int, int, int, int]


@dataclass
class Entry:
    """A row: one job.

    channels: the order of its pixels', and of its layers'. handle: a remote service's name for it. layers and report:
    once its stack is known. model, depth: as in the protocol; view: whether an 8-bit sRGB view follows its pixels;
    profile_bytes: of the ICC profile after that. digest: of the
    picture and all that is asked, where equal jobs must be told; delivered: whether a client has had its result; extra:
    what a door keeps of it, and for every door: `unattended`; `retry`, false where the job may not be run again after a
    crash; `expires`, seconds since the epoch, after which nothing of the job may be kept.
    """

    id: str
    width: int
    height: int
    settings: dict[str, Any]
    channels: str = "RGBA"
    backend: str | None = None
    batch: bool = False
    state: State = State.QUEUED
    created: float = 0.0
    ended: float | None = None
    attempts: int = 0
    handle: str | None = None
    layers: tuple[Outline, ...] | None = None
    report: dict[str, Any] | None = None
    error: UnflattenError | None = None
    model: str = "RGBA"
    depth: str = "U8"
    view: bool = False
    profile_bytes: int = 0
    digest: str = ""
    delivered: bool = False
    extra: dict[str, Any] | None = None

    @property
    def unattended(self) -> bool:
        """Whether the job goes on with nobody connected, and through a restart."""
        return bool(self.extra and self.extra.get("unattended"))

    @property
    def nbytes(self) -> int:
        """Bytes of all that arrives with the picture: its pixels, its view and its profile."""
        pixels = self.width * self.height
        return pixels * self.pixel_size + (pixels * 4 if self.view else 0) + self.profile_bytes

    @property
    def pixel_size(self) -> int:
        return protocol.pixel_size(self.model, self.depth)

    def layer_nbytes(self, layer: Outline) -> int:
        return layer.rect[2] * layer.rect[3] * self.pixel_size


class Journal:
    """The table. What a method wrote survives a kill −9 when it returns. Raises OutOfSpace where the disk is full."""

    def __init__(self, path: Path) -> None:
        """Open the table at `path`. One that is damaged is put aside: a bridge without a past is better than none."""
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise
            log.error("the journal was damaged and is put aside")
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            path.replace(path.with_name(path.name + ".damaged"))
            self._db = _open(path)

    def close(self) -> None:
        self._db.close()

    def add(self, entry: Entry) -> None:
        """Write a new job down. Raises KeyError where its id is already there."""
        entry.created = entry.created or time.time()
        values = _to_row(entry)
        marks = ", ".join("?" * len(values))
        with _full_disk_said():
            try:
                self._db.execute(f"INSERT INTO job ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
            except sqlite3.IntegrityError:
                raise KeyError(entry.id) from None

    def write(self, entry: Entry, *, durable: bool = False) -> None:
        """Bring a job's row up to date. durable: it must survive a power cut, too, as the name of a paid job must."""
        values = _to_row(entry)
        assignments = ", ".join(f"{name} = ?" for name in values)
        with _full_disk_said():
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                self._db.execute(f"UPDATE job SET {assignments} WHERE id = ?", (*values.values(), entry.id))
            finally:
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    def get(self, job: str) -> Entry | None:
        row = self._rows("WHERE id = ?", job)
        return row[0] if row else None

    def unfinished(self) -> list[Entry]:
        """Jobs that have not ended, oldest first."""
        return self._rows(f"WHERE state NOT IN ({', '.join('?' * len(ENDED))}) ORDER BY created", *ENDED)

    def ended(self) -> list[Entry]:
        """Jobs that have ended, oldest first."""
        return self._rows(f"WHERE state IN ({', '.join('?' * len(ENDED))}) ORDER BY ended", *ENDED)

    def same(self, digest: str) -> list[Entry]:
        """Jobs that ask for the same, the latest first; none for an empty digest."""
        return self._rows("WHERE digest = ? ORDER BY created DESC", digest) if digest else []

    def handles(self, job: str) -> list[str]:
        """What remote services call the other jobs."""
        return [row[0] for row in self._db.execute("SELECT handle FROM job WHERE handle <> '' AND id <> ?", (job,))]

    def count_kept(self) -> int:
        """How many jobs have a result that can be fetched."""
        return self._db.execute("SELECT COUNT(*) FROM job WHERE state = ?", (State.DONE,)).fetchone()[0]

    def ids(self) -> set[str]:
        return {row[0] for row in self._db.execute("SELECT id FROM job")}

    def forget(self, job: str) -> None:
        with _full_disk_said():
            self._db.execute("DELETE FROM job WHERE id = ?", (job,))

    def _rows(self, where: str, *values: object) -> list[Entry]:
        names = [each.name for each in fields(Entry)]
        return [
            _from_row(dict(zip(names, row, strict=True)))
            for row in self._db.execute(f"SELECT {', '.join(names)} FROM job {where}", values)
        ]


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        with _full_disk_said():
            # NORMAL: a commit survives the process's death at once, a power cut from the next checkpoint on
            # (WAL never tears a row). FULL would sync the disk at each step of each job.
            db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;")
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                damaged = sqlite3.DatabaseError()
                damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damaged
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise UnflattenError(
                    "The job journal was written by a newer Unflatten.",
                    "Run “python3 install.py” again to update this one.",
                )
            db.execute(_TABLE)
            _bring_up_to_date(db, version)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _bring_up_to_date(db: sqlite3.Connection, version: int) -> None:
    """Give a table of an older version (0: new) the columns that came since. Cut off in between, it goes on here."""
    have = {row[1] for row in db.execute("PRAGMA table_info(job)")}
    for first, columns in _ADDED.items():
        for column in columns if 0 < version < first else ():
            if column.split()[0] not in have:
                db.execute(f"ALTER TABLE job ADD COLUMN {column}")


def _to_row(entry: Entry) -> dict[str, object]:
    error = entry.error
    return {
        "id": entry.id,
        "state": entry.state.value,
        "created": entry.created,
        "ended": entry.ended,
        "batch": int(entry.batch),
        "backend": entry.backend,
        "settings": json.dumps(entry.settings),
        "channels": entry.channels,
        "width": entry.width,
        "height": entry.height,
        "attempts": entry.attempts,
        "handle": entry.handle,
        "layers": entry.layers and json.dumps([[each.name, each.kind, each.rect] for each in entry.layers]),
        "report": entry.report and json.dumps(entry.report),
        "error": error and json.dumps([error.code, error.message, error.hint, error.retryable]),
        "model": entry.model,
        "depth": entry.depth,
        "view": int(entry.view),
        "profile_bytes": entry.profile_bytes,
        "digest": entry.digest,
        "delivered": int(entry.delivered),
        "extra": entry.extra and json.dumps(entry.extra),
    }


def _from_row(row: dict[str, Any]) -> Entry:
    row["state"] = State(row["state"])
    row["batch"] = bool(row["batch"])
    row["view"], row["delivered"] = bool(row["view"]), bool(row["delivered"])
    if row["extra"] is not None:
        row["extra"] = json.loads(row["extra"])
    row["settings"] = json.loads(row["settings"])
    if row["layers"] is not None:
        row["layers"] = tuple(Outline(name, kind, tuple(rect)) for name, kind, rect in json.loads(row["layers"]))
    if row["report"] is not None:
        row["report"] = json.loads(row["report"])
    if row["error"] is not None:
        code, message, hint, retryable = json.loads(row["error"])
        row["error"] = UnflattenError(message, hint, code=code, retryable=retryable)
    return Entry(**row)


@contextmanager
def _full_disk_said() -> Generator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        # SQLITE_FULL is a full disk; an I/O error while growing the WAL is what a quota or a file size limit gives.
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise OutOfSpace(
                "The disk is full: the job could not be written down.", "Free some space on the disk, then try again."
            ) from None
        raise
