"""Two things that touch are told apart at the neck between them."""

from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Rgb = NDArray[np.uint8]
Labels = NDArray[np.int32]


def part_at_necks(
    shape: Mask, image: Rgb, *, narrow: float = 0.6, least: float = 0.15, unlike: float = 0.4, levels: int = 15
) -> list[Mask]:
    """`shape` (h, w) bool, cut where it is narrow between thick parts of other colours; itself alone where it is one
    thing.

    image: (h, w, 3) uint8. A neck is at most `narrow` times as thick as what it joins; each part has at least `least`
    of the whole; the parts' colours overlap by no more than 1 − `unlike` (Bhattacharyya), for one thing's parts are
    often alike.
    """
    depth = cv2.distanceTransform(
        cv2.copyMakeBorder(shape.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 5
    )[1:-1, 1:-1]
    for level in np.linspace(0.1, 0.8, levels) * float(depth.max()):
        count, labels = cv2.connectedComponents((depth > level).astype(np.uint8), connectivity=8)
        thick = [float(depth[labels == i].max()) for i in range(1, count)]
        cores = [i + 1 for i, radius in enumerate(thick) if radius > 5 and radius * narrow > level]
        if len(cores) < 2:
            continue
        parts = _grown_within(shape, np.isin(labels, cores) * labels.astype(np.int32))
        if min(part.sum() for part in parts) < least * shape.sum():
            return [shape]
        tones = [_colours(image, part) for part in parts]
        if any(1 - float((a * b).sum()) < unlike for a, b in combinations(tones, 2)):
            return [shape]
        return parts
    return [shape]


def _grown_within(shape: Mask, cores: Labels) -> list[Mask]:
    """Each core (a number over 0) with the pixels of `shape` that it reaches first."""
    reached = cores.astype(np.float32)
    square = np.ones((3, 3), np.uint8)
    while True:
        wider = np.asarray(cv2.dilate(reached, square), np.float32)
        new = shape & (reached == 0) & (wider > 0)
        if not new.any():
            break
        reached[new] = wider[new]
    return [shape & (reached == number) for number in np.unique(cores[cores > 0])]


def _colours(image: Rgb, part: Mask, *, bins: int = 6) -> NDArray[np.float64]:
    """The square roots of the part's colour shares, in `bins`³ cells of Lab."""
    lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)).astype(np.int64)[part] * bins // 256
    cells = np.bincount((lab[:, 0] * bins + lab[:, 1]) * bins + lab[:, 2], minlength=bins**3)
    return np.sqrt(cells / cells.sum())
