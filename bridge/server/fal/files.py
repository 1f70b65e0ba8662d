"""Files that can be fetched: what clients upload, and results, each under a name of 256 bits that nobody can guess."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from bridge import clock
from bridge.errors import UnflattenError
from bridge.files.disk import check_room, full_disk_said, private, write_all
from bridge.jobs.engine import Engine
from bridge.jobs.files import image_path
from bridge.jobs.job import LayerImages
from bridge.own_files import claim
from bridge.server.fal.errors import MOST_SOURCE
from bridge.server.fal.hosts import AS_FAL
from bridge.server.fal.records import Records, hashed
from bridge.server.uploads import UPLOAD_LIFE, sweep_uploads

MOST_UPLOADS = 4 * 2**30
"""Bytes that all uploads together may take."""
MOST_INITIATED = 1000
"""Uploads that may be announced at a time."""
LONGEST_NAME = 80
"""Characters of a file name."""

_DIGEST = re.compile(r"([0-9a-f]{64})?")
_PATH = re.compile(r"/files/([A-Za-z0-9_-]{43})(/[^/]*)?")


class TooLarge(UnflattenError):
    """The file is larger than any that is taken."""

    code = "file_too_large"
    kind = "picture"

    def __init__(self) -> None:
        super().__init__(
            f"The file is larger than {MOST_SOURCE // 2**20} MB.", "Scale the picture down, or save it as JPEG or WebP."
        )


class UploadsFull(UnflattenError):
    """All uploads together take as much room as they may."""

    code = "uploads_full"
    kind = "resources"

    def __init__(self) -> None:
        super().__init__(
            f"What was uploaded lately takes {MOST_UPLOADS // 2**30} GB already.",
            "Wait until some of it has expired, or send pictures as data URIs.",
        )


@dataclass(frozen=True)
class Stored:
    """A file that can be fetched. expires: seconds since the epoch; sha256: hexadecimal, of uploads alone."""

    path: Path
    file_name: str
    content_type: str
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
    """All of them. folder: where uploads are kept; life: seconds that they are kept where nobody says how long.

    find_result: finds a result's file by its name.
    """

    def __init__(self, folder: Path, find_result: Callable[[str], Stored | None], *, life: float) -> None:
        self._folder = folder
        self._find_result = find_result
        self._life = life
        self._initiated: dict[str, _Initiated] = {}
        claim(folder)
        self._taken = _size(folder)

    def expiry(self, seconds: float | None) -> float:
        """When something ends that was to be kept for `seconds`; None: as long as usual."""
        return clock.now() + (self._life if seconds is None else min(seconds, self._life))

    # What can be fetched

    def find(self, name: str) -> Stored | None:
        """The file of that name, unless it has expired."""
        stored = self._uploaded(hashed(name)) or self._find_result(name)
        return stored if stored is not None and stored.expires > clock.now() and stored.path.is_file() else None

    def find_url(self, url: str, local: Collection[str]) -> "Stored | None":
        """The file that lies here and `url` means; None where it means none. local: the API's own host:port."""
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
            file_name, content_type = safe_name(about["file_name"]), safe_type(about["content_type"])
            digest = about["sha256"] if _DIGEST.fullmatch(about["sha256"]) else ""
            return Stored(self._content(hidden), file_name, content_type, float(about["expires"]), digest)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None  # damaged

    # Uploads

    def initiate(self, file_name: str, content_type: str, expires: float) -> tuple[str, str, str]:
        """Announce an upload: the secret with which it may come, its file's name in addresses, and its file name."""
        now = clock.now()
        self._initiated = {each: about for each, about in self._initiated.items() if about.until > now}
        while len(self._initiated) >= MOST_INITIATED:
            del self._initiated[next(iter(self._initiated))]
        secret, name = new_name(), new_name()
        about = _Initiated(name, safe_name(file_name), safe_type(content_type), expires, now + UPLOAD_LIFE)
        self._initiated[hashed(secret)] = about
        return secret, name, about.file_name

    async def receive_initiated(self, secret: str, pieces: AsyncIterator[bytes]) -> bool:
        """Take an announced file in, once; False where it was not announced. Raises as `receive`."""
        about = self._initiated.pop(hashed(secret), None)
        if about is None or about.until < clock.now():
            return False
        try:
            await self._receive(about.name, pieces, about.file_name, about.content_type, about.expires)
        except BaseException:
            self._initiated[hashed(secret)] = about  # it may come again
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
        hidden = hashed(name)
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
            stored = Stored(part, file_name, content_type, expires, digest.hexdigest())
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
        """Erase uploads that have expired."""
        await asyncio.to_thread(sweep_uploads, self._folder)
        self._taken = _size(self._folder)

    def _content(self, hidden: str) -> Path:
        return self._folder / f"{hidden}.bin"

    def _about(self, hidden: str) -> Path:
        return self._folder / f"{hidden}.json"


def _size(folder: Path) -> int:
    """Bytes of the files in it."""
    taken = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):  # swept a moment ago
            taken += entry.stat(follow_symlinks=False).st_size
    return taken


def new_name() -> str:
    """256 bits as 43 characters that an address can carry."""
    return secrets.token_urlsafe(32)


def find_result(engine: Engine, records: Records, name: str) -> Stored | None:
    """The file of a request's result that is called so."""
    found = records.image(name)
    job = None if found is None else engine.look(found[0])
    if found is None or job is None or not isinstance(job.request.output, LayerImages):
        return None
    kind, number = job.request.output.format, found[1]
    expires = float("inf") if job.request.expires is None else job.request.expires
    path = image_path(engine.files.folder(job.id), number, kind)
    return Stored(path, result_name(number, kind), f"image/{kind}", expires)


def result_name(number: int, kind: str) -> str:
    """What a layer's file is called: counted from the back, from 1 on. number: from 0 on."""
    return f"layer-{number + 1:02}.{kind}"


def safe_name(given: str) -> str:
    """A file name without anything that an address or a system could take amiss."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", unquote(given)).strip(".-")
    return plain[-LONGEST_NAME:].strip(".-") or "file"


def safe_type(given: str) -> str:
    """A picture's content type, or that of plain bytes: nothing that a browser would run."""
    kind = given.partition(";")[0].strip().lower()
    return kind if re.fullmatch(r"image/(png|jpeg|webp|gif|bmp|tiff|avif)", kind) else "application/octet-stream"


def address(media: str, name: str, file_name: str) -> str:
    """Where a file can be fetched. media: the address of the media host."""
    return f"{media}/files/{name}/{quote(file_name)}"
