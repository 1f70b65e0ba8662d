"""A job's picture out of an image file, and its layers as image files: heavy and untrusted, so in the worker alone."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bridge.files.untrusted import open_untrusted
from bridge.jobs.spool import LAYERS_SHARE, PICTURE, SOURCE, check_room, image_path, layer_path, write_whole
from bridge.jobs.writing import flat_rows
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


def encode(
    folder: Path, index: int, rect: tuple[int, int, int, int], size: tuple[int, int], kind: str, *, check: bool
) -> tuple[int, bool]:
    """Save a finished layer as an image file as large as the picture, transparent where it covers nothing.

    rect: (left, top, width, height) in canvas pixels; size: the canvas's. kind: png or webp, both lossless. check:
    whether to ask the safety checker. Returns the file's bytes and whether it is unsafe. Raises OutOfSpace, and
    CheckerMissing where `check`.
    """
    left, top, width, height = rect
    layer = np.fromfile(layer_path(folder, index), np.uint8).reshape(height, width, 4)
    canvas = np.zeros((size[1], size[0], 4), np.uint8)
    canvas[top : top + height, left : left + width] = layer
    out = BytesIO()
    options = PNG_EFFORT if kind == "png" else WEBP_EFFORT
    Image.fromarray(canvas).save(out, kind, **options)
    write_whole(image_path(folder, index, kind), [out.getbuffer()])
    return out.tell(), check and unsafe(canvas)
