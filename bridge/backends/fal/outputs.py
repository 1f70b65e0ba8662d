"""A result becomes layers: its files fetched beside each other, decoded, and held against what was asked for."""

import asyncio
import base64
import binascii
import io
import warnings
from typing import Any, cast

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.backends.base import DraftLayer
from bridge.backends.fal import retries, troubles
from bridge.backends.fal.wire import Wire
from bridge.downloads import NotServed, TooLarge, fetch
from bridge.errors import UnflattenError
from bridge.picture import Layer
from bridge.urls import UnsafeURL

Pixels = NDArray[np.uint8]

MOST_LAYERS = 24
"""Twice what can be asked for: more is no answer."""
MOST_BYTES = 32 * 2**20
MOST_PIXELS = 16 * 2**20
AT_ONCE = 6
SECONDS = 120.0
"""That one file may take, slow as it drips."""
TRIES = 5
FORMATS = ("PNG", "WEBP", "JPEG")
OPAQUE = 250  # models write 251–254 where they mean opaque
BLACK = 8


class _NoImage(Exception):
    pass


async def collect(result: dict[str, Any], wire: Wire, asked: int) -> tuple[list[DraftLayer], list[str]]:
    """The layers, back to front as they came, and notes for the report. asked: how many layers. Raises Trouble."""
    urls = _urls(result)
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(url: str) -> Pixels:
        async with at_once:
            return await _image(url, wire)

    tasks = [asyncio.ensure_future(one(url)) for url in urls]
    try:
        images = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    flagged = result.get("has_nsfw_concepts")
    marked = any(flagged) if isinstance(flagged, list) else bool(flagged)
    if marked and all(_is_black(image) for image in images):
        raise troubles.blacked_out()
    notes = ["fal’s safety checker took note of this picture."] if marked else []
    if len(images) != asked:
        notes.append(f"fal gave {len(images)} layer{'s' * (len(images) != 1)} where {asked} had been asked for.")
    return _layers(images), notes


def _urls(result: dict[str, Any]) -> list[str]:
    images = result.get("images")
    urls = [each.get("url") for each in images if isinstance(each, dict)] if isinstance(images, list) else []
    if not urls:
        raise troubles.bad_result("holds no layers")
    if len(urls) > MOST_LAYERS:
        raise troubles.bad_result(f"holds {len(urls)} layers, far more than can be asked for")
    if not all(isinstance(url, str) for url in urls):
        raise troubles.bad_result("does not say where the layers are")
    return cast(list[str], urls)


async def _image(url: str, wire: Wire) -> Pixels:
    """One layer, (h, w, 4) uint8 RGBA. A file that breaks off or is none is fetched once more: the way may be bad."""
    for attempt in range(1, TRIES + 1):
        try:
            data = _inline(url) if url.startswith("data:") else await _fetched(url, wire)
            return decode(data)
        except _NoImage:
            if url.startswith("data:") or attempt >= 3:
                raise troubles.bad_result("holds a layer that is no picture") from None
        except (httpx.TransportError, TimeoutError):
            if attempt == TRIES:
                raise troubles.not_fetched() from None
        except NotServed as problem:
            if problem.status not in retries.PASSING:
                raise troubles.gone() from None
            if attempt == TRIES:
                raise troubles.not_fetched() from None
        except TooLarge:
            raise troubles.bad_result("holds a layer that is larger than any can be") from None
        except UnsafeURL:
            raise troubles.bad_result("names an address that layers are not fetched from") from None
        await asyncio.sleep(retries.delay(attempt))
    raise AssertionError


async def _fetched(url: str, wire: Wire) -> bytes:
    return await fetch(wire.careful, url, exempt=wire.places.exempt, most=MOST_BYTES, seconds=SECONDS)


def _inline(url: str) -> bytes:
    """A data URI's bytes, as sync_mode gives them."""
    head, _, data = url.partition(",")
    if not head.endswith(";base64") or len(data) > MOST_BYTES * 4 // 3 + 4:
        raise _NoImage
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise _NoImage from None


def decode(data: bytes) -> Pixels:
    """(h, w, 4) uint8 RGBA. Raises _NoImage, before pixels are allocated, for what is none or is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise _NoImage
            return np.array(image.convert("RGBA"))
    except UnflattenError:
        raise
    except Exception:  # decoders meet a damaged file with anything from struct.error to IndexError
        raise _NoImage from None


def _is_black(image: Pixels) -> bool:
    return not ((image[..., :3] > BLACK) & (image[..., 3:] > 0)).any()


def _layers(images: list[Pixels]) -> list[DraftLayer]:
    """The layers on the canvas of the largest; one of another size is brought to it."""
    height, width = max((image.shape[:2] for image in images), key=lambda shape: shape[0] * shape[1])
    layers: list[DraftLayer] = []
    for index, image in enumerate(images):
        if image.shape[:2] != (height, width):
            if abs(image.shape[0] / image.shape[1] / (height / width) - 1) > 0.05:
                raise troubles.bad_result("holds layers of different shapes")
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        first = index == 0 and bool((image[..., 3] >= OPAQUE).all())
        layers.append(DraftLayer(Layer("", image, kind="background" if first else "object"), width, height))
    return layers
