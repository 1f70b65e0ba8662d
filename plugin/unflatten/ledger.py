"""What a batch has done in a folder: which result came from which file, as it was then and with which settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = ".unflatten-batch.json"


class Ledger:
    """Kept in the folder of results. A file counts as unchanged while its size and time of change are the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / NAME
        self._entries: dict[str, dict[str, Any]] = _read(self._file)

    def unchanged(self, source: Path, settings: dict[str, Any]) -> Path | None:
        """The result of `source`, if it is there and would come out the same."""
        entry = self._entries.get(str(source))
        if entry is None or entry["settings"] != settings or entry["stamp"] != _stamp(source):
            return None
        result = self._folder / entry["result"]
        return result if result.is_file() else None

    def place(self, source: Path) -> Path:
        """Where the result of `source` goes: never onto a file that is not an earlier result of the same source."""
        entry = self._entries.get(str(source))
        if entry is not None:
            return self._folder / entry["result"]
        taken = {each["result"] for each in self._entries.values()}
        for name in _names(source):
            if name not in taken and not (self._folder / name).exists():
                return self._folder / name
        raise AssertionError("there is always another number")

    def enter(self, source: Path, result: Path, settings: dict[str, Any]) -> None:
        self._entries[str(source)] = {"result": result.name, "settings": settings, "stamp": _stamp(source)}
        # Written after every file, so that a batch that is stopped goes on where it was.
        half = self._file.with_name(NAME + ".half")
        half.write_text(json.dumps(self._entries, indent=1, ensure_ascii=False), "utf-8")
        os.replace(half, self._file)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are the same place; False where one of them is not there."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _names(source: Path) -> Iterator[str]:
    yield f"{source.stem}.kra"
    yield f"{source.name}.kra"
    number = 2
    while True:
        yield f"{source.name} ({number}).kra"
        number += 1


def _stamp(source: Path) -> list[int]:
    try:
        status = source.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """An unreadable ledger is as good as none: everything is done again, and nothing is written over."""
    try:
        entries = json.loads(file.read_text("utf-8"))
        return {
            str(source): {"result": str(entry["result"]), "settings": entry["settings"], "stamp": entry["stamp"]}
            for source, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
