"""Two things that touch are told apart at the neck between them."""

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import SQUARE, Labels, Mask, components

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class NeckParams:
    """When a shape is cut at a neck."""

    narrow: float = 0.6
    """A neck is at most so many times as thick as what it joins."""
    thick: float = 5.0
    """Pixels: what is nowhere deeper than this is no part of its own."""
    first: float = 0.1
    """Necks are looked for from this share of the shape's greatest depth …"""
    last: float = 0.8
    """… to this one …"""
    levels: int = 15
    """… in so many steps."""
    least: float = 0.15
    """The share of the whole that each part has at least."""
    unlike: float = 0.4
    """The parts' colours overlap by no more than 1 − this (Bhattacharyya): one thing's parts are often alike."""
    bins: int = 6
    """Colours are counted in bins³ cells of Lab."""


PARAMS = NeckParams()


def part_at_necks(shape: Mask, image: Rgb, params: NeckParams = PARAMS) -> list[Mask]:
    """`shape` (h, w) bool, cut where it is narrow between thick parts of other colours; itself alone where it is one
    thing.

    image: (h, w, 3) uint8.
    """
    framed = cv2.copyMakeBorder(shape.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)[1:-1, 1:-1]
    for level in np.linspace(params.first, params.last, params.levels) * float(depth.max()):
        found = components(depth > level)
        thick = [float(depth[found.labels == i].max()) for i in range(1, found.count)]
        cores = [i + 1 for i, radius in enumerate(thick) if radius > params.thick and radius * params.narrow > level]
        if len(cores) < 2:
            continue
        parts = _grown_within(shape, np.isin(found.labels, cores) * found.labels)
        if min(part.sum() for part in parts) < params.least * shape.sum():
            return [shape]
        tones = [_colours(image, part, params.bins) for part in parts]
        if any(1 - float((a * b).sum()) < params.unlike for a, b in combinations(tones, 2)):
            return [shape]
        return parts
    return [shape]


def _grown_within(shape: Mask, cores: Labels) -> list[Mask]:
    """Each core (a number over 0) with the pixels of `shape` that it reaches first."""
    reached = cores.astype(np.float32)
    while True:
        wider = np.asarray(cv2.dilate(reached, SQUARE), np.float32)
        new = shape & (reached == 0) & (wider > 0)
        if not new.any():
            break
        reached[new] = wider[new]
    return [shape & (reached == number) for number in np.unique(cores[cores > 0])]


def _colours(image: Rgb, part: Mask, bins: int) -> NDArray[np.float64]:
    """(bins³,) the square roots of the part's colour shares."""
    lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)).astype(np.int64)[part] * bins // 256
    cells = np.bincount((lab[:, 0] * bins + lab[:, 1]) * bins + lab[:, 2], minlength=bins**3)
    return np.sqrt(cells / cells.sum())
