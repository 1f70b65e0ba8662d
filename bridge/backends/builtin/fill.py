"""What was behind a removed object or a removed word.

Each hole is filled by what its surroundings are made of: even areas (a gradient, hills, a band of colour) by continuing
their outlines and spreading their colours; anything else by patches of itself. Nothing is known of what was hidden, so
nothing is invented that the surroundings do not have.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.flat_fill import fill_flat
from bridge.backends.builtin.grain import with_grain
from bridge.backends.builtin.masks import Floats, Mask, components, grow, grow_square
from bridge.backends.builtin.synthesis import Copied, synthesise
from bridge.pyramid import enlarged, push_pull, shrunk_known

Rgb = NDArray[np.uint8]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class FillParams:
    """How holes are grouped and how large the pictures are on which they are filled. Lengths in pixels."""

    guard: int = 1
    """Pixels this close to the hole are not trusted as surroundings: a soft edge often reaches further than seen."""
    joined: int = 100
    """Holes closer to each other than the picture's longer side divided by this are filled together …"""
    least_joined: int = 3
    """… or closer than this."""
    most_groups: int = 24
    """Where there would be more groups, holes further apart are joined, too."""
    surroundings: float = 0.6
    """How much around a group is looked at, a share of its longer side …"""
    least_surroundings: int = 24
    """… and this on top of it."""
    texture_side: int = 360
    """Patches are searched on pictures of at most this many pixels a side, in which …"""
    texture_hole: int = 12_000
    """… this many are to be filled: the time of a search grows with them …"""
    texture_holes: int = 24_000
    """… and this many in all groups together …"""
    least_texture_hole: int = 1_500
    """… but in each as many as this."""
    known: float = 0.99
    """A pixel of the reduced picture is known where this share of what it covers is."""
    vote_softness: float = 1.0
    """Pixels (sigma) of the reduced picture: averaged patches are softer than what they average."""
    smooth_side: int = 512
    """The last resort is made at this many pixels a side."""


PARAMS = FillParams()


@dataclass(frozen=True)
class _Group:
    """Holes close enough to share their surroundings: the part of the canvas to see, and what of it to fill."""

    area: tuple[slice, slice]
    hole: Mask


def fill(image: Rgb, hole: Mask, *, seed: int, params: FillParams = PARAMS) -> Rgb:
    """`image` with the pixels of `hole` replaced by what may have been behind them; all others stay as they are.

    image: (H, W, 3) uint8; hole: (H, W) bool, of any shape and size, also none or all of the picture.
    The same seed gives the same bytes. Work and memory grow linearly with the picture's pixels.
    """
    out = image.copy()
    if hole.all():
        out[...] = np.median(image.reshape(-1, 3), 0).astype(np.uint8) if image.size else 0
        return out
    unknown = grow(hole, params.guard)
    if unknown.all():
        unknown = hole
    pixels = int(hole.sum())
    for number, group in enumerate(_groups(hole, params)):
        share = group.hole.sum() / max(1, pixels)
        budget = int(np.clip(params.texture_holes * share, params.least_texture_hole, params.texture_hole))
        grown = grow(group.hole, params.guard)
        others = unknown[group.area] & ~grown
        filled = _filled(image[group.area], grown & unknown[group.area], others, seed + number, budget, params)
        out[group.area][group.hole] = np.clip(np.round(filled[group.hole]), 0, 255).astype(np.uint8)
    return out


def _groups(hole: Mask, params: FillParams) -> Iterator[_Group]:
    """Holes that lie close together are filled together: the letters of a line, the parts of an object."""
    height, width = hole.shape
    reach = max(params.least_joined, max(height, width) // params.joined)
    while True:
        # Square growth in two passes: a large disc would take seconds at four megapixels.
        found = components(grow_square(hole, reach))
        if found.count - 1 <= params.most_groups or reach >= max(height, width):
            break
        reach *= 2
    for number in range(1, found.count):
        x, y, w, h = (int(side[number]) for side in (found.left, found.top, found.width, found.height))
        around = int(params.surroundings * max(w, h)) + params.least_surroundings
        area = np.s_[max(0, y - around) : y + h + around, max(0, x - around) : x + w + around]
        yield _Group(area, hole[area] & (found.labels[area] == number))


def _filled(picture: Rgb, hole: Mask, others: Mask, seed: int, budget: int, params: FillParams) -> Floats:
    """One group: `picture` (h, w, 3) with `hole` filled, float32 0…255. others: unknown too, but filled elsewhere."""
    flat = fill_flat(picture, hole, others)
    if flat is not None:
        return with_grain(flat, picture, hole, ~(hole | others), seed)
    textured = _fill_textured(picture, hole, others, seed, budget, params)
    return textured if textured is not None else _fill_smooth(picture, hole, others, params.smooth_side)


def _fill_smooth(picture: Rgb, hole: Mask, others: Mask, side: int) -> Floats:
    """The last resort, where hardly anything is known: the known colours spread evenly."""
    scale = min(1.0, side / max(hole.shape))
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    colours, share = shrunk_known(picture.astype(np.float32), ~(hole | others), size)
    field = push_pull(colours, (share > 0).astype(np.float32))
    return enlarged(field, hole.shape[1], hole.shape[0])


def _fill_textured(picture: Rgb, hole: Mask, others: Mask, seed: int, budget: int, params: FillParams) -> Floats | None:
    """Patches of the surroundings, found on a reduced picture; detail and grain come from where they were found.

    budget: pixels of the hole in the reduced picture, at most. None where there is too little to copy from.
    """
    height, width = hole.shape
    scale = min(1.0, params.texture_side / max(height, width), (budget / hole.sum()) ** 0.5)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    colours, share = shrunk_known(picture.astype(np.float32), ~(hole | others), size)
    missing = share < params.known
    mine = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    copied = synthesise(colours, missing & mine, missing & ~mine, seed=seed)
    return None if copied is None else _with_detail(copied, picture, hole, ~(hole | others), params.vote_softness)


def _with_detail(copied: Copied, picture: Rgb, hole: Mask, known: Mask, softness: float) -> Floats:
    """The reduced fill enlarged, plus what enlarging loses, taken from the place that each pixel was copied from.

    softness: sigma of a blur of the reduced fill, so that its finest detail, too, is taken from the picture.
    """
    height, width = hole.shape
    h, w = copied.rows.shape
    base = enlarged(np.asarray(cv2.GaussianBlur(copied.picture, (0, 0), softness), np.float32), width, height)
    y, x = np.nonzero(hole)
    at = ((y + 0.5) * h / height).astype(np.intp), ((x + 0.5) * w / width).astype(np.intp)
    from_y = y + _rounded((copied.rows[at] - at[0]) * (height / h))
    from_x = x + _rounded((copied.columns[at] - at[1]) * (width / w))
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    inside[inside] = known[from_y[inside], from_x[inside]]
    y, x, from_y, from_x = y[inside], x[inside], from_y[inside], from_x[inside]
    detail = picture[from_y, from_x] - base[from_y, from_x]
    base[y, x] += detail
    return base


def _rounded(values: NDArray[np.float64]) -> Ints:
    return np.asarray(np.round(values), np.intp)
