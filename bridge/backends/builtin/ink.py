"""The colours of lettering: which are likely, and where strokes of one of them are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bridge.backends.builtin.masks import Floats, Mask, grow, shrink
from bridge.backends.builtin.surfaces import robust_fit
from bridge.backends.builtin.zone import Zone, within
from bridge.pyramid import spread

BINS = 16
"""Colours are counted in BINS³ cells …"""
CELL = 256 / BINS
"""… of so many levels a side."""
NEAR = 3
"""Cells a side of the block over which they are counted together."""
_ndimage: Any = ndimage  # its types say little


@dataclass(frozen=True)
class InkParams:
    """How ink is told from its ground. Levels of 255; shares 0…1."""

    rare: float = 0.01
    """The share of the box that a likely colour covers at least, beyond what it covers of the ground."""
    near: float = 1.25
    """Cells: colours nearer to a cell's middle than this make up its ink."""
    apart: int = 3
    """Cells around a likely colour in which no other is looked for."""
    start: float = 40.0
    """Strokes begin with what is no further from their ink than this."""
    rounds: int = 3
    """Of finding ink and ground in turn."""
    fewest: int = 12
    """Pixels; fewer are no strokes."""
    overshoot: float = 1.15
    """How far beyond the ink, seen from the ground, a colour may lie."""
    stroke: float = 0.5
    """A pixel is a stroke's from this share of the way from ground to ink …"""
    stray: float = 0.3
    """… where it lies no further beside that way than this share of its length …"""
    least_stray: float = 14.0
    """… or this far …"""
    least_contrast: float = 20.0
    """… and the way is longer than this."""
    pure: float = 40.0
    """The percentile of the strokes' pixels, by that share, from which they are of pure ink."""
    gradient_fewest: int = 60
    """Pixels of pure ink from which a gradient is fitted …"""
    gradient_usual: float = 80.0
    """… where this percentile of their distances from one even colour …"""
    gradient_least: float = 8.0
    """… is larger than this."""
    gradient_gain: float = 0.6
    """The gradient is taken where it leaves less of the median distance than this share."""
    even: float = 6.0
    """One colour: the distance from the median colour below which …"""
    even_usual: float = 80.0
    """… this percentile of the pixels lies …"""
    even_fewest: int = 20
    """… without the outermost ones, where more pixels than this are left."""


PARAMS = InkParams()


def likely_inks(crop: Floats, inside: Mask, ring: Mask, *, most: int = 3, params: InkParams = PARAMS) -> list[Floats]:
    """At most `most` colours (3,) that are common `inside` (h, w) and rare in the `ring`, the likeliest first."""
    if not inside.any():
        return []
    here, around = histogram(crop[inside]), histogram(crop[ring])
    surplus = (here - around) * (1 - np.minimum(around / np.maximum(here, 1e-6), 1)) ** 2
    inks: list[Floats] = []
    colours = crop[inside]
    for _ in range(most):
        share, centre, cell = commonest(surplus)
        if share <= params.rare:
            break
        close = np.abs(colours - centre).max(-1) < params.near * CELL
        inks.append(np.asarray(np.median(colours[close], axis=0) if close.any() else centre, np.float32))
        surplus[tuple(slice(max(0, c - params.apart), c + params.apart + 1) for c in cell)] = 0
    return inks


def histogram(colours: Floats) -> Floats:
    """(BINS, BINS, BINS) the share of the colours (n, 3) 0…255 in each cell and the 26 around it."""
    cells = np.clip(colours * (BINS / 256), 0, BINS - 1).astype(np.int64)
    flat = (cells[:, 0] * BINS + cells[:, 1]) * BINS + cells[:, 2]
    counts = np.bincount(flat, minlength=BINS**3).reshape(BINS, BINS, BINS) / max(1, len(colours))
    mean = _ndimage.uniform_filter(counts.astype(np.float32), NEAR, mode="constant")
    return np.asarray(mean * NEAR**3, np.float32)


def commonest(shares: Floats) -> tuple[float, Floats, tuple[int, ...]]:
    """The greatest share in a histogram, its cell's middle colour (3,), and the cell."""
    cell = tuple(int(index) for index in np.unravel_index(int(shares.argmax()), shares.shape))
    return float(shares[cell]), (np.array(cell, np.float32) + 0.5) * np.float32(CELL), cell


def fit_ink(zone: Zone, seed: Floats, params: InkParams = PARAMS) -> tuple[Mask, Floats]:
    """Strokes (h, w) and their ink (h, w, 3), even or a straight gradient, that starts as the colour `seed` (3,).

    Ink and ground are found in turn.
    """
    crop = zone.crop
    ink = np.broadcast_to(seed, crop.shape).astype(np.float32)
    body = (np.abs(crop - ink).max(-1) < params.start) & zone.inside
    for _ in range(params.rounds):
        if body.sum() < params.fewest:
            break
        ground = spread(crop, ~grow(body, 2) & ~zone.taken)
        axis = ink - ground
        length = np.maximum((axis * axis).sum(-1), 1.0)
        share = ((crop - ground) * axis).sum(-1) / length
        stray = np.linalg.norm(crop - ground - np.clip(share, 0, params.overshoot)[..., None] * axis, axis=-1)
        contrast = np.sqrt(length)
        like = (share > params.stroke) & (stray < np.maximum(params.stray * contrast, params.least_stray))
        body = within(zone, like & (contrast > params.least_contrast) & ~zone.taken)
        if body.sum() < params.fewest:
            break
        pure = body & (share >= np.percentile(share[body], params.pure))
        ink = _straight_gradient(crop, pure, params)
    return body, ink


def _straight_gradient(crop: Floats, pure: Mask, params: InkParams) -> Floats:
    """(h, w, 3) colours fitted to `pure` pixels: even, or linear in x and y where that explains them much better."""
    y, x = np.nonzero(pure)
    colours = crop[pure]
    even = np.median(colours, axis=0)
    distance = np.abs(colours - even).max(-1)
    out = np.broadcast_to(even, crop.shape).astype(np.float32)
    few = len(x) < params.gradient_fewest
    if few or np.percentile(distance, params.gradient_usual) < params.gradient_least:
        return out
    height, width = crop.shape[:2]
    fit, miss = robust_fit(np.stack([np.ones(len(x)), x / width, y / height], 1), colours)
    if np.median(miss) > params.gradient_gain * np.median(distance):
        return out
    rows, columns = np.mgrid[:height, :width]
    plane = fit[0] + (columns / width)[..., None] * fit[1] + (rows / height)[..., None] * fit[2]
    return np.clip(plane, 0, 255).astype(np.float32)


def is_even(crop: Floats, where: Mask, params: InkParams = PARAMS) -> bool:
    """Whether `where` (h, w) is of one colour, as type is and a soft shadow or a piece of a photograph is not."""
    deep = shrink(where, 1)
    colours = crop[deep if deep.sum() > params.even_fewest else where]
    distance = np.abs(colours - np.median(colours, axis=0)).max(-1)
    return float(np.percentile(distance, params.even_usual)) < params.even
