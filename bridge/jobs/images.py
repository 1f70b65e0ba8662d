"""A job's picture out of an image file, and its layers as image files: heavy and untrusted, so in a worker alone."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bridge.files.disk import check_room, write_whole
from bridge.files.untrusted import open_untrusted
from bridge.jobs.files import LAYERS_SHARE, PICTURE, SOURCE, image_path
from bridge.jobs.job import LayerImages, SavedImage
from bridge.jobs.writing import flat_rows
from bridge.picture import Layer
from bridge.safety import unsafe

PNG_EFFORT = {"compress_level": 1, "compress_type": 3}
"""zlib's run lengths alone: files are a fifth smaller than at its level 2, which takes as long."""
WEBP_EFFORT = {"lossless": True, "exact": True, "quality": 0, "method": 0}
"""exact: colours stay even where nothing shows, as in PNG. More effort than this takes many times as long."""


def decode(folder: Path) -> tuple[int, int]:
    """Make the job's picture out of the image file in `folder`; its width and height in pixels.

    Raises BadPicture, before pixels are allocated where it is too large, and OutOfSpace.
    """
    pixels = open_untrusted(folder / SOURCE)
    check_room(folder, pixels.nbytes * (1 + LAYERS_SHARE))
    write_whole(folder / PICTURE, flat_rows(pixels, "RGBA"))
    return pixels.shape[1], pixels.shape[0]


def encode(folder: Path, index: int, layer: Layer, size: tuple[int, int], output: LayerImages) -> SavedImage:
    """Save a finished 8-bit RGBA layer as an image file as large as the picture, transparent where it covers nothing.

    size: the canvas's (width, height). Both formats are lossless. Raises OutOfSpace, and CheckerMissing where the
    safety checker is asked.
    """
    left, top, width, height = layer.rect
    canvas = np.zeros((size[1], size[0], 4), np.uint8)
    canvas[top : top + height, left : left + width] = layer.pixels
    out = BytesIO()
    options = PNG_EFFORT if output.format == "png" else WEBP_EFFORT
    Image.fromarray(canvas).save(out, output.format, **options)
    write_whole(image_path(folder, index, output.format), [out.getbuffer()])
    return SavedImage(out.tell(), output.check and unsafe(canvas))
