"""What fal's API keeps of a request beside its job: tables of its own in the store's file, read by queries."""

import hashlib
import itertools
import json
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from bridge.jobs.columns import Column, have_columns, moment, put_damaged_aside, read_rows, truth
from bridge.jobs.database import BUSY_PATIENCE, connect, storing

log = logging.getLogger("unflatten")

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
_COLUMNS = [
    Column("id", hexadecimal=32),
    moment("sent", null=False),
    truth("keep_io"),
    moment("keep_for"),
    truth("sync"),
    Column("seed", null=True),
    moment("start_by"),
    Column("url", null=True),
    Column("input", null=True),
    Column("wrong", null=True),
    moment("started"),
    moment("over"),
    Column("status", "INTEGER", null=True, low=100, high=599),
    Column("log"),
    Column("images"),
]
_IMAGE_COLUMNS = [
    Column("name_hash", hexadecimal=64),
    Column("request", hexadecimal=32),
    Column("number", "INTEGER", high=10_000),
]
_JSON: dict[str, tuple[type, type | None]] = {
    "input": (dict, None),
    "wrong": (list, dict),
    "log": (list, dict),
    "images": (list, str),
}
"""Columns that JSON stands in, and of what kinds it and all that is in it must be."""
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


class Records:
    """The records of all requests. Raises OutOfSpace and StoreFailed, as the store does."""

    def __init__(self, path: Path) -> None:
        """Open them in the store's file, which is there already. What is damaged in them is put aside."""
        with storing():
            self._db = connect(path)
            self._db.executescript(
                f"PRAGMA busy_timeout = {BUSY_PATIENCE}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            )
            for table, columns in (("fal_request", _COLUMNS), ("fal_image", _IMAGE_COLUMNS)):
                self._put_stranger_aside(table, columns)
            self._db.executescript(_TABLES)
            put_damaged_aside(self._db, "fal_request", _COLUMNS)
            put_damaged_aside(self._db, "fal_image", _IMAGE_COLUMNS)

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
        with storing():
            found = read_rows(
                self._db, "fal_image", _IMAGE_COLUMNS, _image_from_row, "WHERE name_hash = ?", (hashed(name),)
            )
        return found[0] if found else None

    def delete(self, request_id: str) -> None:
        with storing():
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
        with storing():
            return read_rows(self._db, "fal_request", _COLUMNS, _from_row, where, values)

    def _put_stranger_aside(self, table: str, columns: Sequence[Column]) -> None:
        """A table of that name with other columns than ours keeps what it has under another name."""
        if have_columns(self._db, table, []) or have_columns(self._db, table, columns):
            return
        log.error("the table %s was damaged and is put aside", table)
        taken = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master")}
        name = next(name for number in itertools.count(1) if (name := f"strange_{table}_{number}") not in taken)
        self._db.execute("DROP INDEX IF EXISTS fal_requests_by_end")
        self._db.execute(f"ALTER TABLE {table} RENAME TO {name}")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with storing():
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
        value = getattr(record, column.name)
        if column.name in _JSON and value is not None:
            value = json.dumps(value)
        elif column.name == "seed" and value is not None:  # it may be larger than SQLite's whole numbers
            value = str(value)
        row.append(value)
    return row


def _from_row(row: Mapping[str, Any]) -> RequestRecord:
    """Raises ValueError and KeyError where the row tells what no request ever had."""
    values = dict(row)
    for column, kinds in _JSON.items():
        if values[column] is not None:
            values[column] = _checked(json.loads(values[column]), *kinds)
    for line in values["log"]:
        LogLine(message=line["message"], level=line["level"], source=line["source"], timestamp=line["timestamp"])
    for each in values["wrong"] or ():
        if not (isinstance(each["type"], str) and isinstance(each["msg"], str)):
            raise ValueError("no detail")
    values["seed"] = None if values["seed"] is None else int(values["seed"])
    for column in _TRUTHS:
        values[column] = bool(values[column])
    return RequestRecord(**values)


def _image_from_row(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["request"], row["number"]


def _checked(told: Any, kind: type, inner: type | None) -> Any:
    if not isinstance(told, kind) or (inner and not all(isinstance(each, inner) for each in cast(list[Any], told))):
        raise ValueError("of another kind")
    json.dumps(told, allow_nan=False)  # it is answered with as it stands
    return told
