"""Exact layers: flattened in Krita's own arithmetic (`blend.blend`), they give the picture back.

Where one layer covers a pixel alone, its colour becomes the picture's own. Where layers mix, the residual between the
picture and the flattened draft is given back to them in proportion to their weights (least squares), and what rounding
leaves is settled by the layer on top (`settle.py`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.finish.encoding import Encoding
from bridge.finish.fit import Fitted
from bridge.finish.flatten import Mask, Rows, copy_where, in_threads, overlap, tiles
from bridge.finish.images import Floats
from bridge.finish.matte import sharpen_rows
from bridge.finish.settle import flat, reached, settle_top
from bridge.picture import Picture, Pixels, Stack

Where = tuple[slice, slice, slice]  # rows in the tile, columns of the canvas, rows of the layer
Parts = list[tuple[Pixels, Where]]
BELOW = 0.25
"""How much of a residual layers below the uppermost one take, against 1 for that one."""
ROUNDS = 3
"""Of giving the residual back: clamping leaves little after the second."""


@dataclass(frozen=True)
class Target:
    """What the layers must flatten to. low, high: (C, 1) float32, what their colours may be, in the document's numbers.

    In floating point that is the usual range, and as much more as the picture reaches beyond it.
    """

    pixels: Pixels
    form: Encoding
    low: Floats
    high: Floats

    @staticmethod
    def of(picture: Picture) -> "Target":
        form = Encoding.of(picture)
        low, high = form.low[:-1, None], form.high[:-1, None]
        if not form.integer:
            least, most = _reach(picture.pixels)
            low, high = low + min(0, least - float(low.min())), high + max(0, most - float(high.max()))
        return Target(picture.pixels, form, low, high)


def _reach(pixels: Pixels) -> tuple[float, float]:
    """The smallest and the largest number in (H, W, n) floating-point pixels that is one."""
    height, width = pixels.shape[:2]
    parts = [pixels[slice(*rows)].reshape(-1) for rows in tiles(width, height)]
    ends = in_threads(lambda part: (float(np.fmin.reduce(part)), float(np.fmax.reduce(part))), parts)
    finite = [value for pair in ends for value in pair if np.isfinite(value)]
    return min(finite, default=0.0), max(finite, default=1.0)


def make_exact(fitted: Fitted, picture: Picture) -> Stack:
    """The fitted stack with its edges sharpened and its colours changed so that it flattens to the picture.

    The result uses the fitted layers' own memory, since a copy of a large picture's layers costs gigabytes: `fitted` is
    spent and must not be used again.

    fitted: writable (h, w, C+1) layers in the picture's own numbers, the first one as large as its canvas; where the
    picture is opaque and no layer is, the first becomes so. Where the picture is translucent, the pixel goes whole to
    the layer with the greatest weight there, with the picture's own alpha: compositing several translucent layers
    cannot be exact in 8 bit.
    """
    stack = fitted.stack
    if stack.layers[0].rect != (0, 0, stack.width, stack.height):
        raise ValueError("the first layer must be as large as the canvas")
    target = Target.of(picture)

    def work(rows: Rows) -> None:
        sharpen_rows(stack, fitted.edges, target.pixels, target.form, rows)
        exact_rows(stack, target, rows)

    in_threads(work, tiles(stack.width, stack.height, fitted.step))
    return stack


def exact_rows(stack: Stack, target: Target, rows: Rows) -> None:
    """Make canvas rows rows[0]…rows[1] of every layer exact, in place."""
    form, wanted = target.form, target.pixels[rows[0] : rows[1]]
    parts = [(layer.pixels, where) for layer in stack.layers if (where := overlap(layer, *rows)) is not None]
    opaque = wanted[..., -1] == form.opaque
    _close_gaps(parts, form, wanted, opaque)
    unclaimed, mixed = opaque.copy(), np.zeros_like(opaque)
    for pixels, (tile_rows, columns, layer_rows) in reversed(parts):
        view, free = pixels[layer_rows], unclaimed[tile_rows, columns]
        alpha = view[..., -1]
        solid = (alpha == form.opaque) & free
        copy_where(wanted[tile_rows, columns], solid, view)
        there = (alpha > 0) & free
        mixed[tile_rows, columns] |= there ^ solid
        free ^= there
    for mask, solve in ((mixed, _settle_mixed), (~opaque, _give_to_one)):
        at = np.nonzero(mask)
        if len(at[0]):
            colours, alphas = _gather(parts, form, at)
            solve(colours, alphas, np.ascontiguousarray(wanted[at].T), target)
            _scatter(parts, at, colours, alphas)


def _close_gaps(parts: Parts, form: Encoding, wanted: Pixels, opaque: Mask) -> None:
    """Where the picture is opaque and no layer is, the first layer shows the picture itself."""
    first = parts[0][0][parts[0][1][2]]
    gaps = opaque & (first[..., -1] < form.opaque)
    if gaps.any():
        for pixels, (tile_rows, columns, layer_rows) in parts[1:]:
            gaps[tile_rows, columns] &= pixels[layer_rows][..., -1] < form.opaque
        copy_where(wanted, gaps, first)


def _gather(parts: Parts, form: Encoding, at: tuple[NDArray[np.intp], ...]) -> tuple[Pixels, Pixels]:
    """The layers' colours (n, C, m) and alphas (n, m) at m pixels of the tile; alpha is 0 outside a layer."""
    ys, xs = at
    values = np.zeros((len(parts), form.channels + 1, len(ys)), form.dtype)
    for k, (pixels, where) in enumerate(parts):
        inside, y, x = _inside(where, ys, xs)
        if inside is None:
            values[k] = pixels[y, x].T
        else:
            values[k][:, inside] = pixels[y, x].T
    return values[:, :-1], values[:, -1]


def _scatter(parts: Parts, at: tuple[NDArray[np.intp], ...], colours: Pixels, alphas: Pixels) -> None:
    ys, xs = at
    for k, (pixels, where) in enumerate(parts):
        inside, y, x = _inside(where, ys, xs)
        values = np.concatenate([colours[k], alphas[k, None]])
        pixels[y, x] = values.T if inside is None else values[:, inside].T


def _inside(
    where: Where, ys: NDArray[np.intp], xs: NDArray[np.intp]
) -> tuple[NDArray[np.intp] | None, NDArray[np.intp], NDArray[np.intp]]:
    """Which of the tile's pixels lie in the layer (None: all), and their rows and columns there."""
    tile_rows, columns, layer_rows = where
    outside = (ys < tile_rows.start) | (ys >= tile_rows.stop) | (xs < columns.start) | (xs >= columns.stop)
    inside = np.flatnonzero(~outside) if outside.any() else None
    y, x = (ys, xs) if inside is None else (ys[inside], xs[inside])
    return inside, y + (layer_rows.start - tile_rows.start), x - columns.start


def weights(alphas: Pixels, form: Encoding) -> Floats:
    """Each layer's share of the flattened pixel, (n, m) float32 0–1: its alpha times what those above let through."""
    a = alphas.astype(np.float32) / np.float32(form.opaque)
    through = np.ones_like(a)
    through[:-1] = np.cumprod((1 - a)[:0:-1], axis=0)[::-1]
    through *= a
    return through


def _settle_mixed(colours: Pixels, alphas: Pixels, wanted: Pixels, target: Target) -> None:
    """Make m opaque pixels exact in place. colours (n, C, m), alphas (n, m), wanted (C+1, m)."""
    form, goal = target.form, wanted[:-1]
    off = np.flatnonzero(~reached(form, flat(form, colours, alphas), goal))
    if len(off) == 0:
        return
    c, a, t = colours[..., off], alphas[:, off], goal[:, off]
    _give_residual_back(c, a, t, target)
    settle_top(form, c, a, t, target.low, target.high)
    colours[..., off], alphas[:, off] = c, a


def _give_residual_back(colours: Pixels, alphas: Pixels, goal: Pixels, target: Target) -> None:
    """ΔF_k = g_k w_k R / Σ g_j w_j²: the smallest change of all colours together that mends the residual R.

    g is 1 for the uppermost layer and less for those below: what a draft says of an object's rim is least to be
    believed, and a ground that took it over would keep the object's outline when that is moved away.
    """
    form = target.form
    w = weights(alphas, form)
    give = np.full(w.shape, BELOW, np.float32)
    give[len(w) - 1 - (alphas[::-1] > 0).argmax(0), np.arange(w.shape[1])] = 1
    give *= w
    share = give / (give * w).sum(0)
    f, t = colours.astype(np.float32), goal.astype(np.float32)
    # One pair of bounds for all channels is several times faster than one for each.
    low, high = (bound[0, 0] if (bound == bound[0]).all() else bound for bound in (target.low, target.high))
    for _ in range(ROUNDS):
        residual = t.copy()
        for k in range(len(f)):
            residual -= w[k] * f[k]
        if not form.integer:  # a picture's own “not a number” stays where it is seen
            np.nan_to_num(residual, copy=False, nan=0, posinf=0, neginf=0)
        for k in range(len(f)):
            f[k] += share[k] * residual
            np.clip(f[k], low, high, out=f[k])
    colours[:] = np.rint(f) if form.integer else f


def _give_to_one(colours: Pixels, alphas: Pixels, wanted: Pixels, target: Target) -> None:
    """Give each of m translucent pixels to the layer with the greatest weight, in place."""
    owner = weights(alphas, target.form).argmax(0)
    pixel = np.arange(len(owner))
    alphas[:] = 0
    alphas[owner, pixel] = wanted[-1]
    colours[owner, :, pixel] = wanted[:-1].T
