"""A layer as the vision model is shown it, and its answer as a layer's name."""

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST_NAME_SHOWN = 40
"""Characters of a name."""
MOST_WORDS = 6
NAMING_SIDE = 448
"""Pixels of a layer's longer side that are looked at for its name."""
MARGIN = 0.08
"""Of a layer's larger side, what is shown around it."""
GREY = 128
SEEN = 32
"""Alpha of 255; below it is noise."""
NOT_A_NAME = re.compile(r"[^\w\s’'&,.-]", re.UNICODE)
"""What no name of ours holds; words that a model wraps around a name are mostly this."""


def cut_out(layer: NDArray[np.uint8]) -> Image.Image | None:
    """What a layer shows, on grey, small; None where it shows nothing."""
    rows, columns = (np.flatnonzero((layer[..., 3] > SEEN).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    edge = round(max(bottom - top, right - left) * MARGIN) + 1
    part = layer[max(0, top - edge) : bottom + edge, max(0, left - edge) : right + edge]
    alpha = part[..., 3:].astype(np.float32) / 255
    flat = Image.fromarray((part[..., :3] * alpha + GREY * (1 - alpha)).astype(np.uint8))
    flat.thumbnail((NAMING_SIDE, NAMING_SIDE))
    return flat


def tidy_name(told: str) -> str:
    """A model's answer as a layer's name: its first line, without what surrounds a name; empty where none is left."""
    line = next(iter(told.strip().splitlines()), "")
    name = " ".join(NOT_A_NAME.sub(" ", line).split()).strip(" .,-'’&")
    if not name or len(name) > LONGEST_NAME_SHOWN or len(name.split()) > MOST_WORDS or not any(map(str.isalpha, name)):
        return ""
    return name[0].upper() + name[1:]
