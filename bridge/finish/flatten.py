"""Flattening as Krita does it, in tiles of whole rows."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.blend import blend
from bridge.finish.encoding import Encoding
from bridge.picture import Layer, Pixels, Stack

T = TypeVar("T")
R = TypeVar("R")
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rows = tuple[int, int]  # first and past the last
TILE_PIXELS = 2**18
"""Small enough that a tile of each layer stays in the processor's cache, large enough that Python's part is small."""


def tiles(width: int, height: int, step: int = 1) -> list[Rows]:
    """The canvas rows of each tile, a multiple of `step`: they keep memory flat and give threads something to share."""
    rows = max(1, TILE_PIXELS // max(1, width) // step) * step
    return [(y, min(y + rows, height)) for y in range(0, height, rows)]


def in_threads(work: Callable[[T], R], pieces: Iterable[T]) -> list[R]:
    """`work` on each piece, over as many threads as processors: numpy and OpenCV release Python's lock."""
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        return list(pool.map(work, pieces))


def overlap(layer: Layer, y0: int, y1: int) -> tuple[slice, slice, slice] | None:
    """(rows in the tile, columns of the canvas, rows of the layer) where `layer` meets canvas rows y0…y1, or None."""
    left, top, width, height = layer.rect
    a, b = max(y0, top), min(y1, top + height)
    if a >= b:
        return None
    return slice(a - y0, b - y0), slice(left, left + width), slice(a - top, b - top)


def flatten(stack: Stack, form: Encoding) -> Pixels:
    """The stack's projection, (height, width, C+1) straight alpha in `form`, as Krita shows it over nothing."""
    out = np.zeros((stack.height, stack.width, form.channels + 1), form.dtype)
    in_threads(lambda rows: flatten_rows(stack, form, rows, out[slice(*rows)]), tiles(stack.width, stack.height))
    return out


def flatten_rows(stack: Stack, form: Encoding, rows: Rows, tile: Pixels) -> None:
    """Lay canvas rows rows[0]…rows[1] of every layer over `tile`, (rows, width, C+1), in place."""
    for layer in stack.layers:
        where = overlap(layer, *rows)
        if where is not None:
            lay_over(form, tile[where[0], where[1]], layer.pixels[where[2]])


def lay_over(form: Encoding, below: Pixels, above: Pixels) -> None:
    """Composite `above` over `below` in place; both (h, w, C+1), straight alpha last."""
    alpha = above[..., -1]
    there = alpha > 0
    solid = (alpha == form.opaque) | (there & (below[..., -1] == 0))
    copy_where(above, solid, below)
    soft = np.nonzero(there ^ solid)
    if len(soft[0]) == 0:
        return
    under, over = planes(below[soft]), planes(above[soft])
    result = np.empty_like(under)
    result[:-1] = blend(form, under[:-1], over[:-1], over[-1])
    result[-1] = form.opaque
    translucent = under[-1] != form.opaque
    if translucent.any():
        result[:, translucent] = _over_translucent(form, under[:, translucent], over[:, translucent])
    below[soft] = result.T


def planes(pixels: Pixels) -> Pixels:
    """(m, C+1) as (C+1, m): arithmetic with one alpha for all channels is several times faster channel by channel."""
    return np.ascontiguousarray(pixels.T)


def copy_where(source: Pixels, mask: Mask, target: Pixels) -> None:
    """target[mask] = source[mask] for (h, w, channels) of one dtype, at memory speed."""
    if target.dtype == np.float16:  # OpenCV moves bits, whatever they mean
        source, target = source.view(np.uint16), target.view(np.uint16)
    cv2.copyTo(source, mask.view(np.uint8), target)


def _over_translucent(form: Encoding, under: Pixels, over: Pixels) -> Pixels:
    """(C+1, m) over (C+1, m) where the backdrop is translucent: the layer's share of the new alpha weighs the colours.

    To within rounding only: finished stacks have a single layer wherever the picture is translucent.
    """
    full = np.float32(form.opaque)
    a, b = over[-1].astype(np.float32), under[-1].astype(np.float32)
    alpha = a + (full - a) * b / full
    colour = under[:-1] + (over[:-1] - under[:-1].astype(np.float32)) * (a / alpha)
    result = np.concatenate([colour, alpha[None]])
    return (np.rint(result) if form.integer else result).astype(form.dtype)
