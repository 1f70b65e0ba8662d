"""Files of the door: what clients upload, and results, each under a name of 256 bits that nobody can guess."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from bridge.errors import UnflattenError
from bridge.files.disk import check_room, full_disk_said, private, write_all
from bridge.server.fal_door.errors import MOST_SOURCE
from bridge.server.fal_door.hosts import AS_FAL

UPLOADS = "fal-uploads"
"""The folder of them in the data folder."""
MOST_UPLOADS = 4 * 2**30
"""Bytes that all uploads together may take."""
UPLOAD_LIFE = 3600.0
"""Seconds that an initiated upload may be begun in."""
MOST_INITIATED = 1000
LONGEST_NAME = 80

_PATH = re.compile(r"/files/([A-Za-z0-9_-]{43})(/[^/]*)?")


class TooLarge(UnflattenError):
    code = "file_too_large"

    def __init__(self) -> None:
        super().__init__(
            f"The file is larger than {MOST_SOURCE // 2**20} MB.", "Scale the picture down, or save it as JPEG or WebP."
        )


class UploadsFull(UnflattenError):
    code = "uploads_full"

    def __init__(self) -> None:
        super().__init__(
            f"What was uploaded lately takes {MOST_UPLOADS // 2**30} GB already.",
            "Wait until some of it has expired, or send pictures as data URIs.",
        )


@dataclass(frozen=True)
class Stored:
    """A file that can be fetched. nbytes: its size; sha256: hexadecimal; expires: seconds since the epoch."""

    path: Path
    file_name: str
    content_type: str
    nbytes: int
    expires: float
    sha256: str = ""


@dataclass(frozen=True)
class _Initiated:
    """An upload that is announced: the name its file will have, and until when it may come."""

    name: str
    file_name: str
    content_type: str
    expires: float
    until: float


class Files:
    """All of them. folder: where uploads are kept; life: seconds that they are kept where nobody says how long."""

    def __init__(self, folder: Path, *, life: float) -> None:
        self._folder = folder
        self._life = life
        self._results: dict[str, Stored] = {}
        self._initiated: dict[str, _Initiated] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._taken = sum(path.stat().st_size for path in folder.iterdir())

    def expiry(self, seconds: float | None) -> float:
        """When something ends that was to be kept for `seconds`; None: as long as usual."""
        return time.time() + (self._life if seconds is None else min(seconds, self._life))

    # Results

    def add_result(self, name: str, stored: Stored) -> None:
        self._results[_hidden(name)] = stored

    def forget_results(self, folder: Path) -> None:
        """The job of that folder is erased."""
        for hidden in [hidden for hidden, stored in self._results.items() if stored.path.parent == folder]:
            del self._results[hidden]

    # What can be fetched

    def find(self, name: str) -> Stored | None:
        """The file of that name, unless it has expired."""
        hidden = _hidden(name)
        stored = self._results.get(hidden) or self._uploaded(hidden)
        return stored if stored is not None and stored.expires > time.time() and stored.path.is_file() else None

    def find_url(self, url: str, local: set[str]) -> "Stored | None":
        """The file of the door that `url` means; None where it means none. local: the door's own host:port."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        path = parts.path.removeprefix("/media") if parts.netloc in local else parts.path
        if parts.netloc not in local and f"{parts.scheme}://{parts.netloc}" != AS_FAL.media:
            return None
        named = _PATH.fullmatch(path)
        return self.find(named[1]) if named is not None else None

    def _uploaded(self, hidden: str) -> Stored | None:
        try:
            about: dict[str, Any] = json.loads(self._about(hidden).read_text("utf-8"))
            return Stored(self._content(hidden), **about)
        except (OSError, ValueError, TypeError):
            return None

    # Uploads

    def initiate(self, file_name: str, content_type: str, expires: float) -> tuple[str, str, str]:
        """Announce an upload: the secret with which it may come, its file's name in addresses, and its file name."""
        now = time.time()
        self._initiated = {each: about for each, about in self._initiated.items() if about.until > now}
        while len(self._initiated) >= MOST_INITIATED:
            del self._initiated[next(iter(self._initiated))]
        ticket, name = new_name(), new_name()
        about = _Initiated(name, safe_name(file_name), safe_type(content_type), expires, now + UPLOAD_LIFE)
        self._initiated[_hidden(ticket)] = about
        return ticket, name, about.file_name

    async def receive_initiated(self, ticket: str, pieces: AsyncIterator[bytes]) -> bool:
        """Take an announced file in, once; False where it was not announced. Raises as `receive`."""
        about = self._initiated.pop(_hidden(ticket), None)
        if about is None or about.until < time.time():
            return False
        try:
            await self._receive(about.name, pieces, about.file_name, about.content_type, about.expires)
        except BaseException:
            self._initiated[_hidden(ticket)] = about  # it may come again
            raise
        return True

    async def receive(self, pieces: AsyncIterator[bytes], file_name: str, content_type: str, expires: float) -> str:
        """Take a file in; its name. Raises TooLarge, UploadsFull and OutOfSpace, and leaves nothing then."""
        name = new_name()
        await self._receive(name, pieces, safe_name(file_name), safe_type(content_type), expires)
        return name

    async def _receive(
        self, name: str, pieces: AsyncIterator[bytes], file_name: str, content_type: str, expires: float
    ) -> None:
        hidden = _hidden(name)
        part = self._content(hidden).with_suffix(".part")
        digest, nbytes = hashlib.sha256(), 0
        check_room(self._folder, 0)
        try:
            with full_disk_said(), open(part, "wb", buffering=0, opener=private) as file:
                async for piece in pieces:
                    nbytes += len(piece)
                    if nbytes > MOST_SOURCE:
                        raise TooLarge()
                    if self._taken + nbytes > MOST_UPLOADS:
                        raise UploadsFull()
                    digest.update(piece)
                    await asyncio.to_thread(write_all, file, piece)
            stored = Stored(part, file_name, content_type, nbytes, expires, digest.hexdigest())
            about = {key: value for key, value in asdict(stored).items() if key != "path"}
            with full_disk_said():
                with open(self._about(hidden), "w", encoding="utf-8", opener=private) as file:
                    json.dump(about, file)
                os.replace(part, self._content(hidden))
        except BaseException:
            for path in (part, self._about(hidden)):
                path.unlink(missing_ok=True)
            raise
        self._taken += nbytes

    async def sweep(self) -> None:
        """Erase uploads that have expired, and forget results that were erased."""
        await asyncio.to_thread(sweep_uploads, self._folder)
        self._results = {name: stored for name, stored in self._results.items() if stored.path.is_file()}
        self._taken = sum(path.stat().st_size for path in self._folder.iterdir())

    def _content(self, hidden: str) -> Path:
        return self._folder / f"{hidden}.bin"

    def _about(self, hidden: str) -> Path:
        return self._folder / f"{hidden}.json"


def sweep_uploads(folder: Path) -> None:
    """Erase the uploads in `folder` that have expired, and what a crash left of others."""
    now = time.time()
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            age = now - path.stat().st_mtime
            if path.suffix != ".json":
                orphaned = path.suffix != ".bin" or not path.with_suffix(".json").is_file()
                if orphaned and age > UPLOAD_LIFE:
                    path.unlink()
                continue
            try:
                expires = json.loads(path.read_text("utf-8"))["expires"]
            except (ValueError, KeyError, TypeError):
                expires = 0
            if expires < now:
                path.with_suffix(".bin").unlink(missing_ok=True)
                path.unlink()


def new_name() -> str:
    """256 bits as 43 characters that an address can carry."""
    return secrets.token_urlsafe(32)


def _hidden(name: str) -> str:
    """What a name is known by on the disk and in memory: whoever sees the folder cannot fetch from the door."""
    return hashlib.sha256(name.encode()).hexdigest()


def safe_name(given: str) -> str:
    """A file name without anything that an address or a system could take amiss."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", unquote(given)).strip(".-")
    return plain[-LONGEST_NAME:].strip(".-") or "file"


def safe_type(given: str) -> str:
    """A picture's content type, or that of plain bytes: nothing that a browser would run."""
    kind = given.partition(";")[0].strip().lower()
    return kind if re.fullmatch(r"image/(png|jpeg|webp|gif|bmp|tiff|avif)", kind) else "application/octet-stream"


def address(media: str, name: str, file_name: str) -> str:
    return f"{media}/files/{name}/{quote(file_name)}"
