"""Regions: areas of slowly changing colour, such as a sky, a hill or a stripe."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import SQUARE, Floats, Labels, Mask, components, distance_to
from bridge.pyramid import push_pull

_cv2: Any = cv2  # its stubs do not type distanceTransformWithLabels


@dataclass(frozen=True)
class RegionParams:
    """How regions are found. Colours in levels of 255."""

    evenness: float = 3.0
    """The most that the colours of one region may differ within 3×3 pixels, in a picture without grain …"""
    grain_share: float = 1.5
    """… and how much of the picture's own grain is added to it …"""
    roughest: float = 15.0
    """… up to this."""
    denoised: int = 5
    """Pixels a side of the median filter that comes first."""
    smallest: int = 24
    """Pixels; smaller even areas are specks."""
    alike: float = 4.0
    """Regions whose mean colours beside the hole differ by no more than this are one."""
    beside: float = 14.0
    """Pixels: what is nearer to the hole than this lies beside it."""


PARAMS = RegionParams()


@dataclass(frozen=True)
class Regions:
    """labels: (h, w), the nearest region's number, from 0; distance: (h, w), to it; even: (h, w), what lies in one."""

    labels: Labels
    even: Mask
    distance: Floats


def even_regions(picture: Floats, known: Mask, params: RegionParams = PARAMS) -> Regions | None:
    """The regions of `picture` (h, w, 3) 0…255 where it is `known` (h, w); None where it has none."""
    filled = np.clip(np.round(push_pull(picture, known.astype(np.float32))), 0, 255).astype(np.uint8)
    calm = cv2.medianBlur(filled, params.denoised)
    span = (cv2.dilate(calm, SQUARE).astype(np.int16) - cv2.erode(calm, SQUARE)).max(-1)
    grain = float(np.median(span[known])) if known.any() else 255.0
    limit = min(params.evenness + params.grain_share * grain, params.roughest)
    inside = cv2.erode(known.astype(np.uint8), SQUARE, borderValue=1) > 0
    found = components(inside & (span <= limit), diagonal=False)
    large = found.area >= params.smallest
    large[0] = False
    if not large.any():
        return None
    numbers = np.zeros(found.count, np.int32)
    numbers[large] = np.arange(1, int(large.sum()) + 1)
    labels = numbers[found.labels]
    even = labels > 0
    labels, distance = nearest_label(labels)
    return Regions(labels - 1, even, distance)


def nearest_label(labels: Labels, *, each_pixel: bool = False) -> tuple[Labels, Floats]:
    """Each pixel's nearest label that is not 0, (h, w), and how far it is, (h, w) in pixels.

    each_pixel: every labelled pixel counts for itself; otherwise touching labels count as one piece, of which one label
    stands for all. Labelled pixels keep their own in both.
    """
    how = cv2.DIST_LABEL_PIXEL if each_pixel else cv2.DIST_LABEL_CCOMP
    unlabelled = (labels == 0).astype(np.uint8)
    found = _cv2.distanceTransformWithLabels(unlabelled, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=how)
    distance, pieces = np.asarray(found[0], np.float32), np.asarray(found[1], np.int32)
    names = np.zeros(int(pieces.max()) + 1, np.int32)
    seeds = labels > 0
    names[pieces[seeds]] = labels[seeds]
    return np.where(seeds, labels, names[pieces]), distance


def united(regions: Regions, picture: Floats, hole: Mask, params: RegionParams = PARAMS) -> Regions:
    """Regions whose colours beside the hole are alike become one: the same sky on both sides of a tower."""
    near = (distance_to(hole) < params.beside) & regions.even
    counts, means = mean_colours(picture, regions.labels, near)
    beside = np.flatnonzero(counts)
    means = means[beside]
    to = np.arange(len(counts), dtype=np.int32)
    order = np.argsort(-counts[beside], kind="stable")
    for rank, i in enumerate(order):
        for j in order[:rank]:
            if np.abs(means[i] - means[j]).max() <= params.alike:
                to[beside[i]] = to[beside[j]]
                break
    return Regions(to[regions.labels], regions.even, regions.distance)


def mean_colours(picture: Floats, labels: Labels, where: Mask) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Pixels (n,) and mean colour (n, 3) of each label within `where`."""
    n = int(labels.max()) + 1
    size = np.bincount(labels[where], minlength=n)
    sums = np.stack([np.bincount(labels[where], picture[..., c][where], n) for c in range(3)], -1)
    return size, sums / np.maximum(size, 1)[:, None]
