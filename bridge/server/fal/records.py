"""What fal's API keeps of a request beside its job: tables of its own in the store's file, read by queries."""

import hashlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict

from bridge.jobs.store import BUSY_PATIENCE, full_disk_said

EndedKind = Literal["success", "error", "user_error"]

_TABLES = """
CREATE TABLE IF NOT EXISTS fal_request (
    id       TEXT PRIMARY KEY,
    sent     REAL NOT NULL,
    keep_io  INTEGER NOT NULL,
    keep_for REAL,
    sync     INTEGER NOT NULL,
    seed     TEXT,
    start_by REAL,
    url      TEXT,
    input    TEXT,
    wrong    TEXT,
    started  REAL,
    over     REAL,
    status   INTEGER,
    log      TEXT NOT NULL,
    images   TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fal_requests_by_end ON fal_request (over);
CREATE TABLE IF NOT EXISTS fal_image (
    name_hash TEXT PRIMARY KEY,
    request   TEXT NOT NULL,
    number    INTEGER NOT NULL
) WITHOUT ROWID;
"""
_JSON = ("input", "wrong", "log", "images")
_TRUTHS = ("keep_io", "sync")
_KINDS: dict[EndedKind, str] = {
    "success": "status = 200",
    "error": "status >= 500",
    "user_error": "status <> 200 AND status < 500",
}


class LogLine(TypedDict):
    """One line of a request's log, as fal writes it."""

    message: str
    level: str
    source: str
    timestamp: str


@dataclass
class RequestRecord:
    """One request. Moments are in seconds since the epoch.

    id: its job's, 32 hexadecimal digits. keep_io: whether its input and output may be listed. keep_for: seconds that
    its files may be kept; None: as long as usual. sync: its pictures go into the answer itself. seed: as it was asked
    for. start_by: when it must have begun. url: where its picture is fetched from, until it is over. input: as it is
    listed. wrong: what is wrong with its input, in fal's terms. started: when its first step was done. over: when its
    result could be fetched; status: that answer's. log: its lines. images: the secret names of its result's files,
    back to front.
    """

    id: str
    sent: float
    keep_io: bool = True
    keep_for: float | None = None
    sync: bool = False
    seed: int | None = None
    start_by: float | None = None
    url: str | None = None
    input: dict[str, Any] | None = None
    wrong: list[dict[str, Any]] | None = None
    started: float | None = None
    over: float | None = None
    status: int | None = None
    log: list[LogLine] = field(default_factory=list[LogLine])
    images: list[str] = field(default_factory=list[str])


_COLUMNS = [each.name for each in fields(RequestRecord)]


class Records:
    """The records of all requests. Raises OutOfSpace where the disk is full."""

    def __init__(self, path: Path) -> None:
        """Open them in the store's file, which is there already."""
        self._db = sqlite3.connect(path, isolation_level=None)
        with full_disk_said():
            self._db.executescript(
                f"PRAGMA busy_timeout = {BUSY_PATIENCE}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                + _TABLES
            )

    def close(self) -> None:
        self._db.close()

    def save(self, record: RequestRecord) -> None:
        """Write a record down, a new one or one that is there."""
        row = _to_row(record)
        names = ((hashed(name), record.id, number) for number, name in enumerate(record.images))
        with self._transaction():
            self._db.execute(f"REPLACE INTO fal_request VALUES ({', '.join('?' * len(row))})", row)
            self._db.executemany("INSERT OR IGNORE INTO fal_image VALUES (?, ?, ?)", names)

    def get(self, request_id: str) -> RequestRecord | None:
        found = self._find("WHERE id = ?", [request_id])
        return found[0] if found else None

    def pending(self) -> list[RequestRecord]:
        """Those that are not over, oldest first."""
        return self._find("WHERE over IS NULL ORDER BY sent", [])

    def ended(
        self,
        since: float,
        until: float,
        *,
        request_id: str | None,
        kind: EndedKind | None,
        by_duration: bool,
        offset: int,
        limit: int,
    ) -> list[RequestRecord]:
        """Those that were over between two moments, the latest or the longest first."""
        where, values = "WHERE over >= ? AND over < ?", [since, until]
        if request_id is not None:
            where, values = f"{where} AND id = ?", [*values, request_id]
        if kind is not None:
            where = f"{where} AND {_KINDS[kind]}"
        order = "over - sent" if by_duration else "over"
        return self._find(f"{where} ORDER BY {order} DESC, sent DESC LIMIT ? OFFSET ?", [*values, limit, offset])

    def image(self, name: str) -> tuple[str, int] | None:
        """The request whose file is called so, and which of its files it is."""
        return self._db.execute("SELECT request, number FROM fal_image WHERE name_hash = ?", (hashed(name),)).fetchone()

    def delete(self, request_id: str) -> None:
        with full_disk_said():
            self._db.execute("DELETE FROM fal_request WHERE id = ?", (request_id,))

    def drop_forgotten(self) -> list[str]:
        """Drop the records of jobs that the store has forgotten; their ids."""
        with self._transaction():
            dropped = self._db.execute(
                "DELETE FROM fal_request WHERE id NOT IN (SELECT id FROM jobs) RETURNING id"
            ).fetchall()
            if dropped:
                self._db.execute("DELETE FROM fal_image WHERE request NOT IN (SELECT id FROM fal_request)")
        return [row[0] for row in dropped]

    def _find(self, where: str, values: Sequence[object]) -> list[RequestRecord]:
        rows: Iterable[tuple[Any, ...]] = self._db.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM fal_request {where}", values
        )
        return [_from_row(row) for row in rows]

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with full_disk_said():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise


def hashed(name: str) -> str:
    """What a secret name is looked up by: how long a look-up takes tells nothing of the name."""
    return hashlib.sha256(name.encode()).hexdigest()


def _to_row(record: RequestRecord) -> list[object]:
    row: list[object] = []
    for column in _COLUMNS:
        value = getattr(record, column)
        if column in _JSON and value is not None:
            value = json.dumps(value)
        elif column == "seed" and value is not None:  # it may be larger than SQLite's whole numbers
            value = str(value)
        row.append(value)
    return row


def _from_row(row: tuple[Any, ...]) -> RequestRecord:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    for column in _JSON:
        if values[column] is not None:
            values[column] = json.loads(values[column])
    values["seed"] = None if values["seed"] is None else int(values["seed"])
    for column in _TRUTHS:
        values[column] = bool(values[column])
    return RequestRecord(**values)
