"""A result's images become layers: decoded, and held against what was asked for. For workers."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.backends.base import DraftLayer, Fetched, JobContext
from bridge.backends.fal import errors
from bridge.backends.fal.arguments import layers_asked
from bridge.picture import Layer
from bridge.settings import Settings

Pixels = NDArray[np.uint8]

MOST_PIXELS = 16 * 2**20
FORMATS = ("PNG", "WEBP", "JPEG")
OPAQUE = 250
"""Alpha: models write 251–254 where they mean opaque."""
BLACK = 8
"""The highest value of a channel in a picture that counts as black."""
SAME_SHAPE = 0.05
"""Share by which the aspects of two layers may differ that are of the same picture."""


def unpack(fetched: Fetched, settings: Settings, job: JobContext) -> list[DraftLayer]:
    """The layers, back to front as they came; what the report is to tell goes to `job`. Raises RemoteError."""
    images = [decode(data) for data in fetched.images]
    if fetched.flagged:
        if all(_is_black(image) for image in images):
            raise errors.blacked_out()
        job.notes.append("fal’s safety checker took note of this picture.")
    asked = layers_asked(settings)
    if len(images) != asked:
        many = f"{len(images)} layer{'s' * (len(images) != 1)}"
        job.notes.append(f"fal gave {many} where {asked} had been asked for.")
    job.seed, job.cost = fetched.seed, fetched.cost
    return _layers(images)


def decode(data: bytes) -> Pixels:
    """(h, w, 4) uint8 RGBA. Raises RemoteError, before pixels are allocated, for what is none or is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height <= MOST_PIXELS:
                return np.array(image.convert("RGBA"))
    except Exception:  # decoders meet a damaged file with anything from struct.error to IndexError
        pass
    raise errors.bad_result("holds a layer that is no picture")


def _is_black(image: Pixels) -> bool:
    return not ((image[..., :3] > BLACK) & (image[..., 3:] > 0)).any()


def _layers(images: list[Pixels]) -> list[DraftLayer]:
    """The layers on the canvas of the largest; one of another size is brought to it."""
    height, width = max((image.shape[:2] for image in images), key=lambda shape: shape[0] * shape[1])
    layers: list[DraftLayer] = []
    for index, image in enumerate(images):
        if image.shape[:2] != (height, width):
            if abs(image.shape[0] / image.shape[1] / (height / width) - 1) > SAME_SHAPE:
                raise errors.bad_result("holds layers of different shapes")
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        first = index == 0 and bool((image[..., 3] >= OPAQUE).all())
        layers.append(DraftLayer(Layer("", image, kind="background" if first else "object"), width, height))
    return layers
