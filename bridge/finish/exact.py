"""Exact layers: flattened, they give the picture back in Krita's own 8-bit arithmetic (`flatten.blend`).

Where one layer covers a pixel alone, its colour becomes the picture's own. Where layers mix, the residual between the
picture and the flattened draft is given back to them in proportion to their weights (least squares), and what rounding
leaves is settled by the layer on top, whose alpha rises by the smallest amount that brings the colour within reach.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.flatten import U8, U16, Rows, blend, in_threads, overlap
from bridge.picture import Picture, Stack

Where = tuple[slice, slice, slice]  # rows in the tile, columns of the canvas, rows of the layer
Parts = list[tuple[U8, Where]]
ROUNDS = 3  # of giving the residual back: clamping leaves little after the second


def make_exact(stack: Stack, picture: Picture) -> Stack:
    """Change the stack's layers in place so that they flatten to the picture; returns the stack.

    stack: writable (h, w, 4) uint8 layers on the picture's canvas, the first one as large as it; where the picture
    is opaque and no layer is, the first becomes so.
    picture: (H, W, 4) uint8 RGBA. Where it is translucent, the pixel goes whole to the layer with the greatest weight
    there, with the picture's own alpha: compositing several translucent layers cannot be exact in 8 bit.
    """
    if stack.layers[0].rect != (0, 0, stack.width, stack.height):
        raise ValueError("the first layer must be as large as the canvas")
    in_threads(lambda rows: _exact_tile(stack, picture.pixels, rows), stack.height)
    return stack


def _exact_tile(stack: Stack, source: U8, rows: Rows) -> None:
    wanted = source[rows[0] : rows[1]]
    parts = [(layer.pixels, where) for layer in stack.layers if (where := overlap(layer, *rows)) is not None]
    opaque = wanted[..., 3] == 255
    _close_gaps(parts, wanted, opaque)
    unclaimed, mixed = opaque.copy(), np.zeros_like(opaque)
    for pixels, (tile_rows, columns, layer_rows) in reversed(parts):
        view, free = pixels[layer_rows], unclaimed[tile_rows, columns]
        alpha = view[..., 3]
        solid = (alpha == 255) & free
        cv2.copyTo(wanted[tile_rows, columns], solid.view(np.uint8), view)
        there = (alpha > 0) & free
        mixed[tile_rows, columns] |= there ^ solid
        free ^= there
    for mask, solve in ((mixed, _settle_mixed), (~opaque, _give_to_one)):
        at = np.nonzero(mask)
        if len(at[0]):
            colours, alphas = _gather(parts, at)
            solve(colours, alphas, wanted[at])
            _scatter(parts, at, colours, alphas)


def _close_gaps(parts: Parts, wanted: U8, opaque: NDArray[np.bool_]) -> None:
    """Where the picture is opaque and no layer is, the first layer shows the picture itself."""
    first = parts[0][0][parts[0][1][2]]
    gaps = opaque & (first[..., 3] < 255)
    if gaps.any():
        for pixels, (tile_rows, columns, layer_rows) in parts[1:]:
            gaps[tile_rows, columns] &= pixels[layer_rows][..., 3] < 255
        first[gaps] = wanted[gaps]


def _gather(parts: Parts, at: tuple[NDArray[np.intp], ...]) -> tuple[U8, U8]:
    """The layers' colours (n, m, 3) and alphas (n, m) at m pixels of the tile; alpha is 0 outside a layer."""
    ys, xs = at
    values = np.zeros((len(parts), len(ys), 4), np.uint8)
    for k, (pixels, where) in enumerate(parts):
        inside, y, x = _inside(where, ys, xs)
        values[k, inside] = pixels[y, x]
    return values[..., :3].copy(), values[..., 3].copy()


def _scatter(parts: Parts, at: tuple[NDArray[np.intp], ...], colours: U8, alphas: U8) -> None:
    ys, xs = at
    for k, (pixels, where) in enumerate(parts):
        inside, y, x = _inside(where, ys, xs)
        pixels[y, x, :3] = colours[k, inside]
        pixels[y, x, 3] = alphas[k, inside]


def _inside(
    where: Where, ys: NDArray[np.intp], xs: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
    """Which of the tile's pixels lie in the layer, and their rows and columns there."""
    tile_rows, columns, layer_rows = where
    inside = (ys >= tile_rows.start) & (ys < tile_rows.stop) & (xs >= columns.start) & (xs < columns.stop)
    return inside, ys[inside] - tile_rows.start + layer_rows.start, xs[inside] - columns.start


def weights(alphas: U8) -> NDArray[np.float32]:
    """Each layer's share of the flattened pixel, (n, m) float32 0–1: its alpha times what those above let through."""
    a = alphas.astype(np.float32) / np.float32(255)
    through = np.ones_like(a)
    through[:-1] = np.cumprod((1 - a)[:0:-1], axis=0)[::-1]
    return (a * through).astype(np.float32, copy=False)


def _settle_mixed(colours: U8, alphas: U8, wanted: U8) -> None:
    """Make m opaque pixels exact in place. colours (n, m, 3), alphas (n, m), wanted (m, 4)."""
    target = wanted[:, :3].astype(np.uint16)
    off = np.nonzero((_flat(colours, alphas) != target).any(-1))[0]
    if len(off) == 0:
        return
    c, a, t = colours[:, off], alphas[:, off], target[off]
    _give_residual_back(c, a, t)
    _settle_rounding(c, a, t)
    colours[:, off], alphas[:, off] = c, a


def _flat(colours: U8, alphas: U8) -> U16:
    """The m pixels flattened, (m, 3), over the first layer, which is opaque or hidden."""
    flat = colours[0].astype(np.uint16)
    for colour, alpha in zip(colours[1:], alphas[1:], strict=True):
        flat = blend(flat, colour.astype(np.uint16), alpha[:, None].astype(np.uint16))
    return flat


def _give_residual_back(colours: U8, alphas: U8, target: U16) -> None:
    """ΔF_k = w_k R / Σ w_j²: the smallest change of all colours together that mends the residual R."""
    w = weights(alphas)[..., None]
    f = colours.astype(np.float32)
    energy = (w * w).sum(0)
    for _ in range(ROUNDS):
        residual = target - (w * f).sum(0)
        np.clip(f + w * (residual / energy), 0, 255, out=f)
    colours[:] = np.rint(f)


def _settle_rounding(colours: U8, alphas: U8, target: U16) -> None:
    """Give what is left of the residual to the topmost layer that is there.

    A step of its colour moves the flattened pixel by at most one, so every value between its extremes can be reached.
    """
    count = len(colours)
    m = np.arange(colours.shape[1])
    top = count - 1 - (alphas[::-1] > 0).argmax(0)
    below = np.empty(target.shape, np.int32)
    flat = colours[0].astype(np.uint16)
    for k in range(1, count):
        below[top == k] = flat[top == k]
        flat = blend(flat, colours[k].astype(np.uint16), alphas[k][:, None].astype(np.uint16))
    left = np.nonzero((flat != target).any(-1))[0]
    if len(left) == 0:
        return
    b, t = below[left], target[left].astype(np.int32)
    rise = t - b
    reach = np.where(rise > 0, rise / np.maximum(255 - b, 1), -rise / np.maximum(b, 1)).max(-1)
    a = np.maximum(alphas[top[left], m[left]].astype(np.int32), np.ceil(reach * 255 - 1e-6).astype(np.int32))
    a = np.clip(a, 1, 255)[:, None]
    colours[top[left], left] = np.clip(np.rint(b + rise * (255 / a)), 0, 255)
    alphas[top[left], left] = a[:, 0]


def _give_to_one(colours: U8, alphas: U8, wanted: U8) -> None:
    """Give each of m translucent pixels to the layer with the greatest weight, in place."""
    owner = weights(alphas).argmax(0)
    pixel = np.arange(len(owner))
    alphas[:] = 0
    alphas[owner, pixel] = wanted[:, 3]
    colours[owner, pixel] = wanted[:, :3]
