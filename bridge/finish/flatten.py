"""Flattening with Krita's own 8-bit arithmetic.

Krita blends a layer over an opaque backdrop in floating point and rounds to the nearest value; on all 256³ triples of
(layer, backdrop, alpha) its result equals `blend`, in the root and inside a group.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bridge.picture import Layer, Stack

T = TypeVar("T")
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
Rows = tuple[int, int]  # first and past the last
TILE_ROWS = 128


def blend(backdrop: U16, colour: U16, alpha: U16) -> U16:
    """round((backdrop·(255−alpha) + colour·alpha) / 255), exact in 16-bit integers. All 0–255, any shapes."""
    t: U16 = backdrop * (255 - alpha) + colour * alpha + np.uint16(128)
    t += t >> 8
    t >>= 8
    return t


def tiles(height: int, rows: int = TILE_ROWS) -> list[Rows]:
    """The canvas rows of each tile: tiles keep memory flat and give threads something to share."""
    return [(y, min(y + rows, height)) for y in range(0, height, rows)]


def in_threads(work: Callable[[Rows], T], height: int) -> list[T]:
    """`work` on every tile of a canvas, over as many threads as processors: numpy and OpenCV release Python's lock."""
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        return list(pool.map(work, tiles(height)))


def overlap(layer: Layer, y0: int, y1: int) -> tuple[slice, slice, slice] | None:
    """(rows in the tile, columns of the canvas, rows of the layer) where `layer` meets canvas rows y0…y1, or None."""
    left, top, width, height = layer.rect
    a, b = max(y0, top), min(y1, top + height)
    if a >= b:
        return None
    return slice(a - y0, b - y0), slice(left, left + width), slice(a - top, b - top)


def flatten(stack: Stack) -> U8:
    """The stack's projection, (height, width, 4) uint8 straight RGBA, as Krita shows it over nothing."""
    out = np.zeros((stack.height, stack.width, 4), np.uint8)
    in_threads(lambda rows: flatten_rows(stack, rows, out[slice(*rows)]), stack.height)
    return out


def flatten_rows(stack: Stack, rows: Rows, tile: U8) -> None:
    """Lay canvas rows rows[0]…rows[1] of every layer over `tile`, (rows, width, 4) uint8, in place."""
    for layer in stack.layers:
        where = overlap(layer, *rows)
        if where is not None:
            lay_over(tile[where[0], where[1]], layer.pixels[where[2]])


def lay_over(below: U8, above: U8) -> None:
    """Composite `above` over `below` in place; both (h, w, 4) uint8 straight RGBA."""
    alpha = above[..., 3]
    solid = (alpha == 255) | ((below[..., 3] == 0) & (alpha > 0))
    np.copyto(below, above, where=solid[..., None])
    soft = np.nonzero((alpha > 0) & ~solid)
    if len(soft[0]) == 0:
        return
    under, over = below[soft].astype(np.uint16), above[soft].astype(np.uint16)
    opaque = under[:, 3] == 255
    result = np.empty(under.shape, np.uint8)
    result[:, :3] = blend(under[:, :3], over[:, :3], over[:, 3:])
    result[:, 3] = 255
    if not opaque.all():
        result[~opaque] = _over_translucent(under[~opaque], over[~opaque])
    below[soft] = result


def _over_translucent(under: U16, over: U16) -> U8:
    """(n, 4) over (n, 4) where the backdrop is translucent: the layer's share of the new alpha weighs the colours."""
    a, b = over[:, 3:].astype(np.float32), under[:, 3:].astype(np.float32)
    alpha = a + (255 - a) * b / 255
    colour = under[:, :3] + (over[:, :3] - under[:, :3].astype(np.float32)) * (a / alpha)
    return np.rint(np.concatenate([colour, alpha], 1)).astype(np.uint8)
