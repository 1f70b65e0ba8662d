"""What batches have put into a folder, kept in that folder, so that the same batch run again goes on where it stopped.

Krita's batch and the command line's keep one list together. Shared with the plugin, like protocol.py: standard library
only, Python 3.9 and later.
"""

import hashlib
import itertools
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Relative, because the plugin has it beside this file too.
from .atomic_text import write_text

MANIFEST_FILE = ".unflatten-batch.json"
_PIECE = 2**20
_LONGEST_NAME = 255  # bytes that a file's name may have on most systems
_FOLDERS_NAMED = 3  # folders above a picture whose names may go into its result's


@dataclass(frozen=True)
class Entry:
    """One result: which picture it was made from, how, and what it was when it was saved.

    source: the picture's path. picture: its sha256. how: the format, the backend and all settings, as text. result: the
    sha256 of what was saved; empty while the work is under way. fresh: nothing lay there when the work began, so that
    what lies there after a crash is the whole result: it is renamed into its place at the end.
    """

    source: str
    picture: str
    how: str
    result: str = ""
    fresh: bool = False


class Manifest:
    """The results in `folder`, by their names. A list that cannot be read counts as empty: then no result is owned."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries = _read(folder)

    def holds(self, name: str, wanted: Entry) -> bool:
        """Was this result saved, from the same picture in the same way, and is it still there?"""
        known = self._entries.get(name)
        if known is None or (known.picture, known.how) != (wanted.picture, wanted.how):
            return False
        return (known.result != "" or known.fresh) and (self._folder / name).exists()

    def unsettled(self, name: str) -> bool:
        """Was the batch that made this result killed before it could write down that it was saved?"""
        known = self._entries.get(name)
        return known is not None and known.result == ""

    def owns(self, name: str) -> bool:
        """Is what lies there as a batch made it? Only then may a batch replace it: the user may have painted on it."""
        known = self._entries.get(name)
        return known is not None and known.result in ("", digest(self._folder / name))

    def names(self, wanted: Sequence[Entry], ending: str) -> list[str]:
        """A name that ends in `ending` for the result of each, in order; each is of another source.

        A picture keeps the name that its result has in the list: by its path, or by its content where it was moved. A
        new one gets its own name; where that is taken or others would get the same, its full name or its folder's name
        before it; at last a number. ending: empty for folders.
        """
        kept = self._kept(wanted, ending)
        everyone = {each.source: _bases(Path(each.source), ending) for each in (*self._entries.values(), *wanted)}
        given = {each.source: everyone[each.source] for each in wanted if each.source not in kept}
        shared = [Counter(map(_key, level)) for level in itertools.zip_longest(*everyone.values(), fillvalue="")]
        taken = {_key(name) for name in itertools.chain(self._entries, _lying_in(self._folder), kept.values())}
        for source, bases in given.items():
            apart = (base + ending for base, others in zip(bases, shared) if others[_key(base)] == 1)
            names = itertools.chain(apart, [bases[0] + ending], _numbered(bases[0], ending))
            kept[source] = next(n for n in names if len(os.fsencode(n)) <= _LONGEST_NAME and _key(n) not in taken)
            taken.add(_key(kept[source]))
        return [kept[each.source] for each in wanted]

    def _kept(self, wanted: Sequence[Entry], ending: str) -> dict[str, str]:
        """The names that are in the list already, by their sources' paths."""
        ours = {name: entry for name, entry in self._entries.items() if _ends_so(name, entry, ending)}
        by_path = {entry.source: name for name, entry in ours.items()}
        kept = {each.source: by_path[each.source] for each in wanted if each.source in by_path}
        moved = {
            (entry.picture, entry.how): name
            for name, entry in ours.items()
            if entry.picture and name not in kept.values() and not os.path.exists(entry.source)
        }
        for each in wanted:
            if each.source not in kept and (each.picture, each.how) in moved:
                kept[each.source] = moved.pop((each.picture, each.how))
        return kept

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
        # ASCII: a name may hold bytes that are no UTF-8.
        write_text(self._folder / MANIFEST_FILE, json.dumps({"done": told}, indent=1))


def _bases(source: Path, ending: str) -> list[str]:
    """What a result may be called, without its ending, the best first: c, c.png, b-c, b-c.png, a-b-c, …"""
    if ending:
        last = (source.stem, source.name)
    else:  # no folder that looks like a picture
        last = (source.stem + "-layers" * ("." in source.stem), source.name + "-layers")
    bases: list[str] = []
    before = ""
    for folder in ("", *reversed(source.parts[1:-1][-_FOLDERS_NAMED:])):
        before = f"{folder}-{before}" if folder else before
        bases += [before + each for each in last]
    return bases


def _numbered(stem: str, ending: str) -> Iterator[str]:
    for number in itertools.count(2):
        mark = f" ({number}){ending}"
        while len(os.fsencode(stem + mark)) > _LONGEST_NAME:
            stem = stem[:-1]
        yield stem + mark


def _key(name: str) -> str:
    """The same for names that some file system takes for one: they differ in case, or in how accents are written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _ends_so(name: str, entry: Entry, ending: str) -> bool:
    return name.endswith(ending) if ending else entry.how.startswith("png ")


def _lying_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


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
