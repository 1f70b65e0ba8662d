"""What a batch has done, kept in its folder, so that the same command can be run again and goes on where it stopped."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bridge.files.atomic import whole_file

FILE = ".unflatten-batch.json"


@dataclass(frozen=True)
class Done:
    """A result: of which picture (sha256), how (the settings as text), and as saved (sha256; empty while under way)."""

    source: str
    picture: str
    how: str
    result: str = ""


class Ledger:
    """The list of results in `folder`, by their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[str, Done] = {}
        try:
            listed = json.loads((folder / FILE).read_text("utf-8"))["done"]
            self._done = {str(name): Done(**entry) for name, entry in listed.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # a first batch, or a list that somebody has broken: what lies there then counts as the user's own

    def holds(self, name: str, wanted: Done) -> bool:
        """Was the result saved, from the same picture with the same settings, and is it still there?"""
        known = self._done.get(name)
        same = known is not None and (known.picture, known.how) == (wanted.picture, wanted.how) and known.result != ""
        return same and (self._folder / name).exists()

    def owns(self, name: str) -> bool:
        """Is what lies there as a batch made it? Only then may a batch replace it: the user may have painted on it."""
        known = self._done.get(name)
        return known is not None and known.result in ("", digest(self._folder / name))

    def source_of(self, name: str) -> str | None:
        """The picture that the result of that name was made from."""
        known = self._done.get(name)
        return known.source if known else None

    def results(self) -> set[Path]:
        """Where the results lie."""
        return {(self._folder / name).resolve() for name in self._done}

    def write(self, entries: dict[str, Done]) -> None:
        """Keep these entries, on the disk before it returns."""
        self._done |= entries
        told = {name: asdict(done) for name, done in sorted(self._done.items())}
        with whole_file(self._folder / FILE) as fresh:
            fresh.write_text(json.dumps({"done": told}, indent=1, ensure_ascii=False), "utf-8")


def digest(path: Path) -> str:
    """sha256 of a file, or of the files in a folder; empty where there is nothing."""
    try:
        if not path.is_dir():
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        whole = "".join(f"{file.name} {digest(file)}\n" for file in sorted(path.iterdir()))
        return hashlib.sha256(whole.encode()).hexdigest()
    except OSError:
        return ""
