"""What batches have put into a folder, kept in that folder, so that the same batch run again goes on where it stopped.

Krita's batch and the command line's keep one list together. Shared with the plugin, like protocol.py: standard library
only, Python 3.9 and later.
"""

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

# Relative, because the plugin has it beside this file too.
from .atomic_text import write_text

MANIFEST_FILE = ".unflatten-batch.json"
_PIECE = 2**20


@dataclass(frozen=True)
class Entry:
    """One result: which picture it was made from, how, and what it was when it was saved.

    source: the picture's path. picture: its sha256. how: the format, the backend and all settings, as text. result: the
    sha256 of what was saved; empty while the work is under way.
    """

    source: str
    picture: str
    how: str
    result: str = ""


class Manifest:
    """The results in `folder`, by their names. A list that cannot be read counts as empty: then no result is owned."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries = _read(folder)

    def holds(self, name: str, wanted: Entry) -> bool:
        """Was this result saved, from the same picture in the same way, and is it still there?"""
        known = self._entries.get(name)
        same = known is not None and (known.picture, known.how) == (wanted.picture, wanted.how) and known.result != ""
        return same and (self._folder / name).exists()

    def owns(self, name: str) -> bool:
        """Is what lies there as a batch made it? Only then may a batch replace it: the user may have painted on it."""
        known = self._entries.get(name)
        return known is not None and known.result in ("", digest(self._folder / name))

    def source_of(self, name: str) -> Optional[str]:
        """The picture that the result of that name was made from; None where no batch made it."""
        known = self._entries.get(name)
        return known.source if known else None

    def name_for(self, source: Path, ending: str) -> str:
        """The name of the earlier result of `source` that ends in `ending`; else one that nothing has yet.

        source: absolute. A name counts as taken where a file has it that no batch made, or a result of another picture.
        """
        for name, entry in self._entries.items():
            if entry.source == str(source) and name.endswith(ending):
                return name
        numbered = (f"{source.name} ({number}){ending}" for number in itertools.count(2))
        names = itertools.chain((f"{source.stem}{ending}", f"{source.name}{ending}"), numbered)
        return next(name for name in names if name not in self._entries and not (self._folder / name).exists())

    def results(self) -> set[Path]:
        """Where the results lie."""
        return {(self._folder / name).resolve() for name in self._entries}

    def write(self, entries: dict[str, Entry]) -> None:
        """Add these entries to the list and to its file. Raises OSError.

        What another batch has written meanwhile is kept: Krita's and the command line's may work in one folder.
        """
        self._entries.update(_read(self._folder))
        self._entries.update(entries)
        told = {name: asdict(entry) for name, entry in sorted(self._entries.items())}
        write_text(self._folder / MANIFEST_FILE, json.dumps({"done": told}, indent=1, ensure_ascii=False))


def digest(path: Path) -> str:
    """sha256 of a file, or of the files in a folder; empty where there is nothing, or nothing that can be read."""
    try:
        if path.is_dir():
            whole = "".join(f"{file.name} {digest(file)}\n" for file in sorted(path.iterdir()))
            return hashlib.sha256(whole.encode()).hexdigest()
        found = hashlib.sha256()
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                found.update(piece)
        return found.hexdigest()
    except OSError:
        return ""


def _read(folder: Path) -> dict[str, Entry]:
    try:
        told = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))["done"]
        return {str(name): Entry(**entry) for name, entry in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
