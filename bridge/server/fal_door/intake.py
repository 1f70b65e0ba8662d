"""A request's picture on its way in: from a data URI, a file of the door, or a public address, to the job's folder."""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from bridge.errors import BadPicture, WorkerDied
from bridge.jobs.journal import Entry
from bridge.jobs.spool import SOURCE, Spool, check_room, full_disk_said, write_whole
from bridge.jobs.workshop import Workshop
from bridge.server.fal_door.files import Files
from bridge.server.fal_door.public import NotFetched, check_url, fetch

FETCHES = 4
DECODES = 2
"""Pictures fetched, and opened, at a time."""
DECODE_PATIENCE = 300.0
TRIES = 2
"""A worker that is ended for another job's sake takes its questions along: they are asked again."""

_DATA = re.compile(r"data:[^,]*?(;base64)?,", re.IGNORECASE)


@dataclass(frozen=True)
class Given:
    """A picture as a request gave it: bytes, a file here, or an address. digest: tells equal ones."""

    digest: str
    content: bytes | None = None
    file: Path | None = None
    url: str | None = None


class Intake:
    """Brings pictures in. local: the door's own host:port."""

    def __init__(self, spool: Spool, workshop: Workshop, files: Files, local: set[str]) -> None:
        self._spool = spool
        self._workshop = workshop
        self._files = files
        self._local = local
        self._fetching = asyncio.Semaphore(FETCHES)
        self._decoding = asyncio.Semaphore(DECODES)

    async def look(self, image_url: str) -> Given:
        """What `image_url` means. Raises BadPicture and NotFetched; nothing is fetched yet."""
        if image_url[:5].lower() == "data:":
            return await asyncio.to_thread(_from_data_uri, image_url)
        stored = self._files.find_url(image_url, self._local)
        if stored is not None:
            return Given(stored.sha256 or str(stored.path), file=stored.path)
        check_url(image_url)
        return Given(image_url, url=image_url)

    async def place(self, job: str, given: Given) -> None:
        """Make the job's folder, with its picture's file where that is here already. Raises OutOfSpace."""
        folder = self._spool.folder(job)
        await asyncio.to_thread(_place, folder, given)

    async def bring(self, entry: Entry) -> None:
        """Make the job's picture. Raises NotFetched, TooLarge, BadPicture, OutOfSpace and WorkerDied."""
        folder = self._spool.folder(entry.id)
        source = folder / SOURCE
        if not source.is_file():
            url = (entry.extra or {}).get("fetch")
            if not url:
                raise NotFetched("The picture is no longer on the disk.", "Send it again.")
            async with self._fetching:
                part = source.with_suffix(".part")
                await fetch(url, part)
                os.replace(part, source)
        async with self._decoding:
            told = await ask_patiently(
                self._workshop, "decode", patience=DECODE_PATIENCE, folder=str(folder.absolute())
            )
        entry.width, entry.height = told["width"], told["height"]


async def ask_patiently(workshop: Workshop, question: str, *, patience: float, **fields: object) -> dict[str, Any]:
    """The worker's answer, asked for again where the worker ended in between. Raises what it reports."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(WorkerDied):
            return await workshop.ask(question, patience=patience, **fields)
    return await workshop.ask(question, patience=patience, **fields)


def _place(folder: Path, given: Given) -> None:
    with full_disk_said():
        folder.mkdir(mode=0o700)
        try:
            if given.content is not None:
                check_room(folder, len(given.content))
                write_whole(folder / SOURCE, [given.content])
            elif given.file is not None:
                try:
                    os.link(given.file, folder / SOURCE)
                except OSError:  # gone meanwhile, or a file system without links
                    shutil.copyfile(given.file, folder / SOURCE)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
            raise NotFetched("The picture is no longer on the disk.", "Upload it again.") from None
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _from_data_uri(uri: str) -> Given:
    start = _DATA.match(uri)
    try:
        if start is None:
            raise ValueError
        rest = uri[start.end() :]
        content = base64.b64decode(rest, validate=True) if start[1] else unquote_to_bytes(rest)
    except (ValueError, binascii.Error, UnicodeError):
        raise BadPicture("The picture's data URI is damaged.", "Encode it again.", code="image_load_error") from None
    if not content:
        raise BadPicture("The picture's data URI is empty.", "Encode it again.", code="image_load_error")
    return Given(hashlib.sha256(content).hexdigest(), content=content)
