"""Fetches a picture from a public address: https only, and never from this computer or the network around it."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import httpx

from bridge import downloads, urls
from bridge.errors import UnflattenError
from bridge.jobs.spool import full_disk_said, private, write_all
from bridge.server.fal_door.errors import MOST_SOURCE
from bridge.server.fal_door.files import TooLarge

WHOLE = 60.0
"""Seconds that a picture may take."""


class NotFetched(UnflattenError):
    """The picture could not be had from its address."""

    code = "file_download_error"

    def __init__(self, message: str, hint: str = "Send the picture as a data URI, or upload it.") -> None:
        super().__init__(message, hint)


def check_url(url: str) -> None:
    """Raise NotFetched where `url` must not be fetched, as far as can be told before its name is looked up."""
    try:
        urls.check_url(_spaced(url))
    except urls.UnsafeURL:
        raise _unsafe() from None


async def fetch(url: str, target: Path) -> None:
    """Fetch what is at `url` into the file `target`. Raises NotFetched, TooLarge and OutOfSpace."""
    try:
        async with asyncio.timeout(WHOLE), downloads.careful_client(frozenset()) as client:
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
        raise NotFetched(f"The picture did not arrive within {WHOLE:.0f} seconds.") from None
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
