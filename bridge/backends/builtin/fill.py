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
from bridge.backends.builtin.synthesis import Copied, synthesise
from bridge.pyramid import enlarged, push_pull, shrunk_known

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

MOST_GROUPS = 24
TEXTURE_SIDE = 360  # patches are searched on pictures of at most this many pixels a side …
TEXTURE_HOLE = 12_000  # … and this many pixels to be filled: the time of a search grows with them …
TEXTURE_HOLES = 24_000  # … and of all groups together
VOTED_SOFTNESS = 1.0  # pixels of the reduced picture
SMOOTH_SIDE = 512


@dataclass(frozen=True)
class _Group:
    """Holes close enough to share their surroundings: the part of the canvas to see, and what of it to fill."""

    area: tuple[slice, slice]
    hole: Bools


def fill(image: Picture, hole: Bools, *, seed: int, guard: int = 1) -> Picture:
    """`image` with the pixels of `hole` replaced by what may have been behind them; all others stay as they are.

    image: (H, W, 3) uint8; hole: (H, W) bool, of any shape and size, also none or all of the picture.
    guard: pixels this close to the hole are not trusted as surroundings: a soft edge often reaches further than seen.
    The same seed gives the same bytes. Work and memory grow linearly with the picture's pixels.
    """
    out = image.copy()
    if hole.all():
        out[...] = np.median(image.reshape(-1, 3), 0).astype(np.uint8) if image.size else 0
        return out
    unknown = _grown(hole, guard)
    if unknown.all():
        unknown = hole
    groups = list(_groups(hole))
    pixels = int(hole.sum())
    for number, group in enumerate(groups):
        budget = int(np.clip(TEXTURE_HOLES * (group.hole.sum() / max(1, pixels)), TEXTURE_HOLE / 8, TEXTURE_HOLE))
        others = unknown[group.area] & ~_grown(group.hole, guard)
        filled = _filled(
            image[group.area], _grown(group.hole, guard) & unknown[group.area], others, seed + number, budget
        )
        out[group.area][group.hole] = np.clip(np.round(filled[group.hole]), 0, 255).astype(np.uint8)
    return out


def _grown(mask: Bools, reach: int) -> Bools:
    """`mask` grown by a disc of radius `reach`, in pixels."""
    if reach < 1:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _groups(hole: Bools) -> Iterator[_Group]:
    """Holes that lie close together are filled together: the letters of a line, the parts of an object."""
    height, width = hole.shape
    reach = max(3, max(height, width) // 100)
    while True:
        # Square growth in two passes: a large disc would take seconds at four megapixels.
        joined = cv2.dilate(hole.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
        if count - 1 <= MOST_GROUPS or reach >= max(height, width):
            break
        reach *= 2
    for number in range(1, count):
        x, y, w, h = (int(value) for value in stats[number, :4])
        around = int(0.6 * max(w, h)) + 24
        area = np.s_[max(0, y - around) : y + h + around, max(0, x - around) : x + w + around]
        yield _Group(area, hole[area] & (labels[area] == number))


def _filled(picture: Picture, hole: Bools, others: Bools, seed: int, budget: int) -> Floats:
    """One group: `picture` (h, w, 3) with `hole` filled, float32 0…255. others: unknown too, but filled elsewhere."""
    flat = fill_flat(picture, hole, others)
    if flat is not None:
        return with_grain(flat, picture, hole, ~(hole | others), seed)
    textured = _fill_textured(picture, hole, others, seed, budget)
    return textured if textured is not None else _fill_smooth(picture, hole, others)


def _fill_smooth(picture: Picture, hole: Bools, others: Bools) -> Floats:
    """The last resort, where hardly anything is known: the known colours spread evenly."""
    scale = min(1.0, SMOOTH_SIDE / max(hole.shape))
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    colours, share = shrunk_known(picture.astype(np.float32), ~(hole | others), size)
    field = push_pull(colours, (share > 0).astype(np.float32))
    return enlarged(field, hole.shape[1], hole.shape[0])


def _fill_textured(picture: Picture, hole: Bools, others: Bools, seed: int, budget: int) -> Floats | None:
    """Patches of the surroundings, found on a reduced picture; detail and grain come from where they were found."""
    height, width = hole.shape
    scale = min(1.0, TEXTURE_SIDE / max(height, width), (budget / hole.sum()) ** 0.5)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    colours, share = shrunk_known(picture.astype(np.float32), ~(hole | others), size)
    missing = share < 0.99
    mine = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    copied = synthesise(colours, missing & mine, missing & ~mine, seed=seed)
    return None if copied is None else _with_detail(copied, picture, hole, ~(hole | others))


def _with_detail(copied: Copied, picture: Picture, hole: Bools, known: Bools) -> Floats:
    """The reduced fill enlarged, plus what enlarging loses, taken from the place that each pixel was copied from."""
    height, width = hole.shape
    h, w = copied.rows.shape
    # Averaged patches are softer than what they average: the finest that they have is taken from the picture as well.
    base = enlarged(np.asarray(cv2.GaussianBlur(copied.picture, (0, 0), VOTED_SOFTNESS), np.float32), width, height)
    y, x = np.nonzero(hole)
    at = ((y + 0.5) * h / height).astype(np.intp), ((x + 0.5) * w / width).astype(np.intp)
    from_y = y + np.round((copied.rows[at] - at[0]) * (height / h)).astype(np.intp)
    from_x = x + np.round((copied.columns[at] - at[1]) * (width / w)).astype(np.intp)
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    inside[inside] = known[from_y[inside], from_x[inside]]
    y, x, from_y, from_x = y[inside], x[inside], from_y[inside], from_x[inside]
    detail = picture[from_y, from_x] - base[from_y, from_x]
    base[y, x] += detail
    return base
