"""What may stand in a table's columns, and where rows go in which something else stands: aside, so that the rest lives.

SQLite keeps any value in any column. What a bit of the disk, another program or a hand has changed must not stop the
bridge, nor come out as an error of its own somewhere far from here.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Row = TypeVar("Row")

LATEST = 1e11
"""Seconds since the epoch; what lies later was never written by a clock."""

log = logging.getLogger("unflatten")


@dataclass(frozen=True)
class Column:
    """One column. null: whether it may be empty. low, high: of numbers; hexadecimal: digits of a text, None for any.
    words: the texts that there are."""

    name: str
    kind: Literal["TEXT", "REAL", "INTEGER"] = "TEXT"
    null: bool = False
    low: float = 0
    high: float = LATEST
    hexadecimal: int | None = None
    words: tuple[str, ...] = ()

    def sql(self) -> str:
        """True of what may stand in it."""
        name = self.name
        types = {"TEXT": "'text'", "REAL": "'real', 'integer'", "INTEGER": "'integer'"}[self.kind]
        rule = f"typeof({name}) IN ({types})"
        if self.kind != "TEXT":
            rule += f" AND {name} BETWEEN {self.low!r} AND {self.high!r}"
        if self.hexadecimal is not None:
            rule += f" AND length({name}) = {self.hexadecimal} AND {name} NOT GLOB '*[^0-9a-f]*'"
        if self.words:
            rule += f" AND {name} IN ({', '.join(repr(each) for each in self.words)})"
        return f"({name} IS NULL OR {rule})" if self.null else f"({rule})"


def moment(name: str, *, null: bool = True) -> Column:
    """Seconds since the epoch."""
    return Column(name, "REAL", null)


def truth(name: str) -> Column:
    return Column(name, "INTEGER", high=1)


def have_columns(db: sqlite3.Connection, table: str, columns: Iterable[Column]) -> bool:
    """Whether there is a table of that name with exactly these columns."""
    found = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    return found == [each.name for each in columns]


def put_damaged_aside(db: sqlite3.Connection, table: str, columns: Sequence[Column]) -> None:
    """Put aside all rows in which anything stands that may not stand there."""
    _move(db, table, f"NOT ({' AND '.join(each.sql() for each in columns)})", ())


def read_rows(
    db: sqlite3.Connection,
    table: str,
    columns: Sequence[Column],
    read: Callable[[Mapping[str, Any]], Row],
    where: str = "",
    values: Sequence[object] = (),
) -> list[Row]:
    """The rows that `where` finds, as `read` makes them. One that it cannot make anything of is put aside."""
    names = [each.name for each in columns]
    rule = " AND ".join(each.sql() for each in columns)
    found = db.execute(f"SELECT {', '.join(names)}, ({rule}) FROM {table} {where}", values).fetchall()
    rows: list[Row] = []
    for *content, sound in found:
        try:
            if not sound:
                raise ValueError("damaged")
            rows.append(read(dict(zip(names, content, strict=True))))
        except Exception:  # each kind of damage has its own
            _move(db, table, f"{names[0]} IS ?", (content[0],))
    return rows


def _move(db: sqlite3.Connection, table: str, where: str, values: Sequence[object]) -> None:
    """Move rows to a table of their own, where nobody looks for anything."""
    # coalesced: what is neither true nor false of a damaged value is damaged, too
    found = db.execute(f"SELECT COUNT(*) FROM {table} WHERE coalesce({where}, 1)", values).fetchone()[0]
    if not found:
        return
    log.error("%d damaged rows of the table %s are put aside; what they told is lost", found, table)
    db.execute("SAVEPOINT aside")
    try:
        db.execute(f"CREATE TABLE IF NOT EXISTS damaged_{table} AS SELECT * FROM {table} WHERE 0")
        db.execute(f"INSERT INTO damaged_{table} SELECT * FROM {table} WHERE coalesce({where}, 1)", values)
        db.execute(f"DELETE FROM {table} WHERE coalesce({where}, 1)", values)
        db.execute("RELEASE aside")
    except BaseException:
        db.execute("ROLLBACK TO aside")
        db.execute("RELEASE aside")
        raise
