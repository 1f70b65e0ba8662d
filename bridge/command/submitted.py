"""What the command line has handed to remote services and not had back: a second run goes on with it.

In the data folder, not beside the results: what lies there may be shared, or copied to somebody else's disk.
"""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from bridge.connection_file import data_dir
from bridge.errors import OutOfSpace

FOLDER = "submitted"
FORGOTTEN_AFTER = 30 * 86_400.0
"""Seconds after which no service has anything of a picture any more, by far."""


class Submitted:
    """Handles by their keys, each a small file that is on the disk when `keep` returns."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or data_dir() / FOLDER

    def get(self, key: str) -> str | None:
        try:
            return (self._folder / key).read_text("utf-8") or None
        except OSError:
            return None

    def others(self, key: str) -> tuple[str, ...]:
        """The handles of the other keys; those that nobody came back for are forgotten."""
        found: list[str] = []
        with contextlib.suppress(OSError):
            for file in self._folder.iterdir():
                if file.suffix != ".part" and file.name != key:
                    with contextlib.suppress(OSError):
                        if time.time() - file.stat().st_mtime > FORGOTTEN_AFTER:
                            file.unlink()
                        else:
                            found.append(file.read_text("utf-8"))
        return tuple(found)

    def keep(self, key: str, text: str) -> None:
        """Write a handle down so that it survives a power cut; forget an empty one. Raises OutOfSpace."""
        if not text:
            self.forget(key)
            return
        part = self._part(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(part, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._folder / key)
            _sync_folder(self._folder)
        except OSError as problem:
            with contextlib.suppress(OSError):
                part.unlink()
            raise OutOfSpace(
                f"It could not be written down where the picture is sent: {problem.strerror}.",
                f"Nothing goes on without that. Look at {self._folder}, and free some space on its disk.",
            ) from None

    def forget(self, key: str) -> None:
        for file in (self._folder / key, self._part(key)):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def _part(self, key: str) -> Path:
        """One name for each key, so that what a crash left of it goes with it."""
        return self._folder / f"{key}.part"


class Submission:
    """One picture's handle: of this file, with these settings, for this result."""

    def __init__(self, picture: str, how: str, target: Path, store: Submitted | None = None) -> None:
        """picture: the file's sha256; how: the backend and the settings, as text."""
        self._store = store or Submitted()
        told = json.dumps([picture, how, str(target.resolve())])
        self._key = hashlib.sha256(told.encode()).hexdigest()

    @property
    def handle(self) -> str | None:
        return self._store.get(self._key)

    @property
    def others(self) -> tuple[str, ...]:
        return self._store.others(self._key)

    def keep(self, text: str) -> None:
        self._store.keep(self._key, text)

    def forget(self) -> None:
        self._store.forget(self._key)


def _sync_folder(folder: Path) -> None:
    """A renaming is not on the disk before its folder is; Windows can't be asked for that."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
