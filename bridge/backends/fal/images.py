"""A result's images: fetched beside each other, each as a whole file; they are decoded elsewhere."""

import asyncio
import base64
import binascii
import zlib

import httpx

from bridge.backends.fal import errors, retries, values
from bridge.backends.fal.client import Client
from bridge.downloads import NotServed, TooLarge, fetch
from bridge.urls import UnsafeURL

MOST_LAYERS = 24
"""Twice what can be asked for: more is no answer."""
MOST_BYTES = 32 * 2**20
AT_ONCE = 12
"""Files fetched at a time, of all jobs together."""
SECONDS = 120.0
"""That one file may take, slow as it drips."""
TRIES = 5
TRIES_BROKEN = 3
"""Where a file arrives and is none, or breaks off: the way may be bad, but the file may be, too."""
_PNG = b"\x89PNG\r\n\x1a\n"


class _NoImage(Exception):
    """What arrived is no image file, or only the beginning of one."""


def urls_in(result: values.Object) -> list[str]:
    """The images' URLs, back to front. Raises RemoteError."""
    urls = [each.get("url") for each in values.objects_in(result.get("images"))]
    if not urls:
        raise errors.bad_result("holds no layers")
    if len(urls) > MOST_LAYERS:
        raise errors.bad_result(f"holds {len(urls)} layers, far more than can be asked for")
    texts = [url for url in urls if isinstance(url, str)]
    if len(texts) != len(urls):
        raise errors.bad_result("does not say where the layers are")
    return texts


async def fetch_all(urls: list[str], client: Client, at_once: asyncio.Semaphore) -> list[bytes]:
    """The files, in that order, each whole. Raises RemoteError."""

    async def one(url: str) -> bytes:
        async with at_once:
            return await _image(url, client)

    tasks = [asyncio.ensure_future(one(url)) for url in urls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _image(url: str, client: Client) -> bytes:
    """One file. One that breaks off or is none is fetched again."""
    for attempt in range(1, TRIES + 1):
        try:
            data = _inline(url) if url.startswith("data:") else await _fetched(url, client)
            if is_whole(data):
                return data
            raise _NoImage
        except _NoImage:
            if url.startswith("data:") or attempt >= TRIES_BROKEN:
                raise errors.bad_result("holds a layer that is no picture") from None
        except (httpx.TransportError, TimeoutError):
            if attempt == TRIES:
                raise errors.not_fetched() from None
        except NotServed as problem:
            if problem.status not in retries.PASSING:
                raise errors.gone() from None
            if attempt == TRIES:
                raise errors.not_fetched() from None
        except TooLarge:
            raise errors.bad_result("holds a layer that is larger than any can be") from None
        except UnsafeURL:
            raise errors.bad_result("names an address that layers are not fetched from") from None
        await asyncio.sleep(retries.delay(attempt))
    raise AssertionError


async def _fetched(url: str, client: Client) -> bytes:
    return await fetch(client.careful, url, exempt=client.addresses.exempt, most=MOST_BYTES, seconds=SECONDS)


def _inline(url: str) -> bytes:
    """A data URI's bytes, as sync_mode gives them."""
    head, _, data = url.partition(",")
    if not head.endswith(";base64") or len(data) > MOST_BYTES * 4 // 3 + 4:
        raise _NoImage
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise _NoImage from None


def is_whole(data: bytes) -> bool:
    """Whether it is a PNG, WebP or JPEG file from its beginning to its end. Nothing is decoded for that."""
    if data.startswith(_PNG):
        return _is_whole_png(memoryview(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return data.startswith(b"\xff\xd8\xff") and data.rstrip(b"\0").endswith(b"\xff\xd9")


def _is_whole_png(data: memoryview) -> bool:
    """Whether each chunk's checksum is right, up to the last one, IEND."""
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = bytes(data[at + 4 : at + 8])
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False
