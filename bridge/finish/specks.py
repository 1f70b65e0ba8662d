"""Specks and blank layers: what noise leaves in a model's draft."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.images import square
from bridge.picture import Layer, Stack

SEEN = 32
"""Alpha of 255; blank layers carry noise below it."""
SPECK = 4
"""Draft pixels that a speck has at most."""
SPECK_REACH = 12
"""Draft pixels; type has dots and hair has ends: what lies this near to something larger belongs to it."""
LEAST_SHARE = 1e-5
"""Of the canvas; a smaller layer is a crumb that nobody would look for."""
LEAST_PIXELS = 12
"""The same in draft pixels."""


def is_blank(layer: Layer, draft: Stack) -> bool:
    """Whether a layer (h, w, 4) uint8 of `draft` shows nothing that anybody would look for."""
    least = max(LEAST_PIXELS, LEAST_SHARE * draft.width * draft.height)
    return bool(np.count_nonzero(layer.pixels[..., 3] > SEEN) < least)


def without_specks(layer: Layer) -> Layer:
    """The layer without faint or tiny specks far from everything else in it: noise, or crumbs of its neighbours."""
    alpha = layer.pixels[..., 3]
    there = (alpha > SEEN).view(np.uint8)
    if there.all():
        return layer
    count, labels, stats, _ = cv2.connectedComponentsWithStats(there, connectivity=8)
    if count <= 2:
        return layer
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(sizes <= SPECK)
    if len(small) == 0 or len(small) == len(sizes):
        return layer
    marks: NDArray[np.intp] = np.asarray(labels, np.intp)
    is_large: NDArray[np.bool_] = np.append(False, sizes > SPECK)
    near = cv2.dilate(is_large[marks].astype(np.uint8), square(SPECK_REACH)) > 0
    specks = there.astype(bool) & ~is_large[marks] & ~near
    if not specks.any():
        return layer
    around = cv2.dilate(specks.astype(np.uint8), square(1)) > 0
    pixels = layer.pixels.copy()
    pixels[around & ~near, 3] = 0
    return replace(layer, pixels=pixels)
