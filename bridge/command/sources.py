"""Which pictures a command is to split, and why others cannot be or are left alone."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from bridge.errors import BadPicture, UnflattenError
from bridge.files.kinds import ENDINGS, TAKEN, check_is_file, looks_like_picture
from bridge.manifest import Manifest

NAMED = 3
"""Files that are named of those that are left alone."""


@dataclass
class Found:
    """pictures: each once, in order. problems: what was named and cannot be taken. others: files in the folders that
    are no pictures."""

    pictures: list[Path] = field(default_factory=list[Path])
    problems: dict[Path, UnflattenError] = field(default_factory=dict[Path, UnflattenError])
    others: list[Path] = field(default_factory=list[Path])

    @property
    def note(self) -> str:
        """What was left alone, as a sentence."""
        if not self.others:
            return ""
        count = len(self.others)
        shown = ", ".join(file.name for file in self.others[:NAMED]) + (", …" if count > NAMED else "")
        return f"Left alone: {count} file{'s are' if count != 1 else ' is'} no picture that can be opened ({shown})."


def find_pictures(named: list[Path], output: Path) -> Found:
    """The pictures named, and those in the folders named (not in folders inside them), told by their content or name.

    output: where results go; what a batch has put there is taken only where it is named itself. Raises BadPicture where
    there is nothing at all.
    """
    found, seen, results = Found(), set[str](), Manifest(output).results()
    for path in named:
        try:
            for file in _in_folder(path, results, found) if os.path.isdir(path) else [path]:
                real = os.path.realpath(file)
                if real not in seen:
                    seen.add(real)
                    _sort(file, found)
        except OSError as problem:
            found.problems[path] = BadPicture(
                f"The folder cannot be read: {problem.strerror}.", "Change its permissions."
            )
    if not (found.pictures or found.problems):
        raise BadPicture(f"There are no pictures there. {found.note}".strip(), f"Taken are {TAKEN}.")
    return found


def check_readable(path: Path) -> None:
    """Raise BadPicture where there is no file at `path` that may be read."""
    try:
        check_is_file(path)
        with path.open("rb"):
            pass
    except OSError as problem:
        raise BadPicture(
            f"{path} cannot be read: {problem.strerror}.", "Check its name, and its and its folder's permissions."
        ) from None


def _sort(file: Path, found: Found) -> None:
    try:
        check_readable(file)
        found.pictures.append(file)
    except BadPicture as problem:
        found.problems[file] = problem


def _in_folder(folder: Path, results: set[Path], found: Found) -> list[Path]:
    """The pictures in a folder. Raises OSError."""
    pictures: list[Path] = []
    for file in sorted(folder / name for name in os.listdir(folder) if not name.startswith(".")):
        if not os.path.isfile(file) or Path(os.path.realpath(file)) in results:
            continue
        # what may not be read is named, so that nobody misses it
        if file.suffix.lower() in ENDINGS or looks_like_picture(file):
            pictures.append(file)
        else:
            found.others.append(file)
    return pictures
