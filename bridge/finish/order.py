"""Which of a draft's layers lies over which: where two overlap, the upper one is the one that is seen."""

import numpy as np
from numpy.typing import NDArray

from bridge.finish.images import Floats, floats, mean_of_channels, towards
from bridge.finish.small import FAR, SmallDraft

ALIKE = 24 / 255
"""Two colours nearer than this may be the same one, drifted."""
THERE = 0.1
"""Alpha from which something of a layer is there."""
TOLD = 10.0
"""Pixels' worth of evidence that one layer lies over another."""


def find_order(small: SmallDraft) -> list[int]:
    """The layers' numbers, back to front.

    Pairs are settled by evidence, the strongest first, as long as they make no circle (Tideman's ranked pairs).
    Where there is none, a layer lies over one that covers everything, and all else stays where it was.
    """
    count = len(small.layers)
    evidence = {(i, j): _evidence(small, i, j) for i in range(count) for j in range(i + 1, count)}
    above = np.zeros((count, count), bool)  # above[i, j]: i lies over j, also through others
    for (i, j), weight in sorted(evidence.items(), key=lambda pair: -abs(pair[1])):
        upper, lower = (i, j) if weight > 0 else (j, i)
        if abs(weight) < TOLD:
            if small.is_whole(i) == small.is_whole(j):
                continue
            upper, lower = (j, i) if small.is_whole(i) else (i, j)
        if not above[lower, upper]:
            over, under = above[:, upper] | _only(upper, count), above[lower] | _only(lower, count)
            above |= over[:, None] & under[None]
    left, order = list(range(count)), list[int]()
    while left:
        bottom = next(k for k in left if not above[k, left].any())
        order.append(bottom)
        left.remove(bottom)
    return order


def _only(index: int, count: int) -> NDArray[np.bool_]:
    return np.arange(count) == index


def _evidence(small: SmallDraft, i: int, j: int) -> float:
    """Pixels' worth of evidence that layer i lies over layer j: which of the two ways the picture shows."""
    both = np.minimum(small.alphas[i], small.alphas[j]) > THERE
    rows, columns = np.flatnonzero(both.any(1)), np.flatnonzero(both.any(0))
    if len(rows) == 0 or np.count_nonzero(both) < TOLD:
        return 0.0
    area = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    as_told, otherwise = _laid(small, i, j, area), _laid(small, j, i, area)
    margin = np.minimum(otherwise, FAR) - np.minimum(as_told, FAR)
    return float((both[area] * (np.minimum(as_told, otherwise) < ALIKE) * margin).sum()) / FAR


def _laid(small: SmallDraft, upper: int, lower: int, area: tuple[slice, slice]) -> Floats:
    """How far the picture is from `upper` over `lower` over the picture itself, (h, w)."""
    picture = small.picture[area]
    flat = picture.copy()
    for layer in (lower, upper):
        shifted = floats(small.colours[layer][area] + small.shifts[layer])
        towards(flat, shifted, small.alphas[layer][area])
    return mean_of_channels(np.abs(flat - picture))
