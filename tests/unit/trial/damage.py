"""Damage to the store's file, as a bit of the disk, another program or a hand does it."""

import sqlite3
from contextlib import closing
from pathlib import Path

DAMAGES: dict[str, object] = {
    "nothing": None,
    "a word": "garbage",
    "an empty text": "",
    "a number": 7,
    "a negative number": -1,
    "a huge number": 10**18,
    "a huge fraction": 1e308,
    "infinity": float("inf"),
    "bytes": b"\xff\xfe\x00\x01",
    "half a character": b"\xed\xa0\x80",
    "a list": "[1, [2, {}]]",
    "an object": '{"a": [null]}',
    "deep": "[" * 100_000,
    "no number": "NaN",
}
"""What may come to stand in any column."""


def columns(path: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def damage(path: Path, table: str, column: str, value: object, where: str = "1") -> None:
    """Put `value` into a column, past the table's own rules."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"ALTER TABLE {table} RENAME TO sound")
        db.execute(f"CREATE TABLE {table} AS SELECT * FROM sound")
        db.execute("DROP TABLE sound")
        if value == DAMAGES["half a character"]:
            db.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {where}", (value,))
        else:
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
