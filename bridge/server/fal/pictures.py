"""A request's picture on its way into its job's folder: from a data URI, a file that lies here, or a public address.

Addresses are given by others: https only, and never of this computer or the network around it.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import httpx

from bridge import downloads, urls
from bridge.errors import UnflattenError
from bridge.files.disk import check_room, full_disk_said, private, write_all, write_whole
from bridge.jobs.files import SOURCE, JobFiles
from bridge.jobs.job import RawPicture
from bridge.jobs.supervisor import Workers
from bridge.server.fal.data_uri import decode
from bridge.server.fal.errors import MOST_SOURCE
from bridge.server.fal.files import Files, TooLarge

FETCHES = 4
DECODES = 2
"""Pictures fetched, and opened, at a time."""
DECODE_PATIENCE = 300.0
"""Seconds that a picture may take to be opened."""
FETCH_PATIENCE = 60.0
"""Seconds that a picture may take to arrive from its address."""


@dataclass(frozen=True)
class Given:
    """A picture as a request gave it: bytes, a file here, or an address. digest: tells equal ones."""

    digest: str
    content: list[bytes] | None = None
    file: Path | None = None
    url: str | None = None


class NotFetched(UnflattenError):
    """The picture could not be had from its address."""

    code = "file_download_error"
    kind = "picture"

    def __init__(self, message: str, hint: str = "Send the picture as a data URI, or upload it.") -> None:
        super().__init__(message, hint)


class Pictures:
    """Brings requests' pictures into their jobs' folders. local: the API's own host:port."""

    def __init__(self, jobs: JobFiles, workers: Workers, files: Files, local: Collection[str]) -> None:
        self._jobs = jobs
        self._workers = workers
        self._files = files
        self._local = local
        self._fetching = asyncio.Semaphore(FETCHES)
        self._decoding = asyncio.Semaphore(DECODES)

    async def look(self, image_url: str, data_uri: list[bytes]) -> Given:
        """What `image_url` means. Raises BadPicture and NotFetched; nothing is fetched yet.

        data_uri: the whole of a long one, in pieces, of which image_url is the beginning; they become the picture.
        """
        if image_url[:5].lower() == "data:":
            whole = data_uri or [image_url.encode("utf-8", "replace")]
            return await _from_data_uri(whole)
        if data_uri:
            raise _unsafe()
        stored = self._files.find_url(image_url, self._local)
        if stored is not None:
            return Given(stored.sha256 or str(stored.path), file=stored.path)
        check_url(image_url)
        return Given(image_url, url=image_url)

    async def place(self, job_id: str, given: Given) -> None:
        """Make the job's folder, with its picture's file where that is here already. Raises OutOfSpace."""
        await asyncio.to_thread(_place, self._jobs.folder(job_id), given)

    async def bring(self, job_id: str, url: str | None) -> RawPicture:
        """Make the job's picture of its file, which is fetched from `url` where it is not here.

        Raises NotFetched, TooLarge, BadPicture, OutOfSpace and WorkerDied.
        """
        folder = self._jobs.folder(job_id)
        source = folder / SOURCE
        if not source.is_file():
            if url is None:
                raise NotFetched("The picture is no longer on the disk.", "Send it again.")
            async with self._fetching:
                part = source.with_suffix(".part")
                await fetch(url, part)
                os.replace(part, source)
        async with self._decoding:
            size = await self._workers.ask("decode", patience=DECODE_PATIENCE, folder=str(folder.absolute()))
        return RawPicture(size["width"], size["height"])


def check_url(url: str) -> None:
    """Raise NotFetched where `url` must not be fetched, as far as can be told before its name is looked up."""
    try:
        urls.check_url(_spaced(url))
    except urls.UnsafeURL:
        raise _unsafe() from None


async def fetch(url: str, target: Path) -> None:
    """Fetch what is at `url` into the file `target`. Raises NotFetched, TooLarge and OutOfSpace."""
    try:
        async with asyncio.timeout(FETCH_PATIENCE), downloads.careful_client(frozenset()) as client:
            coming = downloads.pieces(client, _spaced(url), exempt=frozenset(), most=MOST_SOURCE)
            with full_disk_said(), open(target, "wb", buffering=0, opener=private) as file:
                async with aclosing(coming):
                    async for piece in coming:
                        await asyncio.to_thread(write_all, file, piece)
    except urls.UnsafeURL:
        raise _unsafe() from None
    except downloads.TooLarge:
        raise TooLarge() from None
    except downloads.NotServed as problem:
        if problem.status == downloads.TOO_MANY_REDIRECTS:
            raise NotFetched("The picture's address leads from one address to the next without end.") from None
        raise NotFetched(f"The server answered {problem.status} instead of the picture.") from None
    except httpx.ConnectError:
        raise NotFetched("The server that the picture's address names cannot be reached.") from None
    except TimeoutError:
        raise NotFetched(f"The picture did not arrive within {FETCH_PATIENCE:.0f} seconds.") from None
    except httpx.TransportError:
        raise NotFetched("The picture could not be fetched: its server does not answer as it should.") from None


def _spaced(url: str) -> str:
    """As browsers take an address that was typed: with its spaces."""
    return url.replace(" ", "%20")


def _unsafe() -> NotFetched:
    return NotFetched(
        "The picture's address must begin with https:// or data:, "
        "and must not lead to this computer or a private network."
    )


def _place(folder: Path, given: Given) -> None:
    with full_disk_said():
        folder.mkdir(mode=0o700)
        try:
            if given.content is not None:
                check_room(folder, sum(map(len, given.content)))
                write_whole(folder / SOURCE, given.content)
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


async def _from_data_uri(uri: list[bytes]) -> Given:
    await decode(uri)
    digest = hashlib.sha256()
    for piece in uri:
        digest.update(piece)
        await asyncio.sleep(0)
    return Given(digest.hexdigest(), content=uri)
