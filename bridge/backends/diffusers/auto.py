"""How many layers a picture has, found by looking at what comes out: which frames count, and which hold too much."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

FIRST = 4
"""Layers that are tried first: with more the model gives blank ones, with fewer it joins what should be apart."""
MOST = 10
AGAIN = 3
"""Layers that a crowded one is split into."""
MOST_AGAIN = 2
"""Crowded layers that are split: each takes as long as the first split."""
SOLID = 127
"""Alpha of 255 from which a pixel counts."""
BLANK = 0.002
"""Of the picture: a layer that shows less shows nothing."""
COPY = 0.92
"""Intersection over union from which two layers show the same shape …"""
ALIKE = 12.0
"""… and mean difference of their colours, of 255, up to which it is the same thing."""
CROWD = 0.03
"""Of the picture: pieces at least so large make a layer crowded, where there are two or more of them."""
SMALL = 256
"""Pixels of the side on which all is judged."""


def is_blank(frame: Frame) -> bool:
    """Whether a frame (h, w, 4) shows nothing."""
    return float((frame[..., 3] > SOLID).mean()) < BLANK


def is_copy(one: Frame, other: Frame) -> bool:
    """Whether two frames show the same."""
    a, b = (frame[..., 3] > SOLID for frame in (one, other))
    both, either = a & b, a | b
    if not both.any() or both.sum() / either.sum() < COPY:
        return False
    return float(np.abs(one[both][:, :3].astype(np.int16) - other[both][:, :3]).mean()) < ALIKE


def worth_keeping(frames: Sequence[Frame]) -> list[int]:
    """The numbers of the frames that show something which no frame before them shows."""
    kept: list[int] = []
    for number, frame in enumerate(frames):
        if not is_blank(frame) and not any(is_copy(frame, frames[each]) for each in kept):
            kept.append(number)
    return kept


def pieces(frame: Frame) -> int:
    """Things that lie apart in a frame, each large enough to be one; 0 in one that covers nearly everything."""
    solid = (cv2.resize(frame[..., 3], (SMALL, SMALL), interpolation=cv2.INTER_AREA) > SOLID).astype(np.uint8)
    if solid.mean() > 0.9:
        return 0
    joined = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] >= CROWD * SMALL * SMALL).sum())


def crowded(frames: Sequence[Frame]) -> list[int]:
    """The numbers of the frames that hold several things, the most crowded first; at most `MOST_AGAIN`."""
    counted = {number: pieces(frame) for number, frame in enumerate(frames)}
    found = [number for number in counted if counted[number] >= 2]
    return sorted(found, key=lambda number: -counted[number])[:MOST_AGAIN]


def gained(whole: Frame, parts: Sequence[Frame]) -> list[Frame]:
    """The parts of a layer that was split again, in its place, cut to where it is.

    The layer itself where nothing is won: fewer than two parts beside those that have its shape again (the model paints
    a ground for it), or parts that leave much of it out.
    """
    solid = whole[..., 3] > SOLID
    inside = [_within(part, whole) for part in parts]
    kept = [inside[number] for number in worth_keeping(inside) if not _has_shape(inside[number], solid)]
    shown = np.any([part[..., 3] > SOLID for part in kept], axis=0) if kept else ~solid
    if len(kept) < 2 or (shown & solid).sum() < COPY * solid.sum():
        return [whole]
    return kept


def _has_shape(frame: Frame, solid: NDArray[np.bool_]) -> bool:
    return bool(((frame[..., 3] > SOLID) & solid).sum() >= COPY * solid.sum())


def _within(part: Frame, whole: Frame) -> Frame:
    """A part shows nothing where its layer was clear: a model fills the ground there, which lies beneath already."""
    cut = part.copy()
    cut[..., 3] = np.minimum(part[..., 3], whole[..., 3])
    return cut
