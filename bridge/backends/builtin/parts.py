"""Parts of a picture within which colours change only step by small step, and what is known of each."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csgraph

from bridge.backends.builtin.masks import Floats, Labels

Rgb = NDArray[np.uint8]
Numbers = NDArray[np.float64]
_graphs: Any = csgraph  # a compiled module without types


def smooth_parts(image: Rgb, tolerance: int) -> Labels:
    """(h, w) labels of the parts within which no step from pixel to pixel changes a channel by more than `tolerance`.

    A gradient is one part, however far its ends lie apart; an outline ends it.
    """
    height, width = image.shape[:2]
    values = image.astype(np.int16)
    numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
    across = np.abs(values[:, 1:] - values[:, :-1]).max(-1) <= tolerance
    down = np.abs(values[1:] - values[:-1]).max(-1) <= tolerance
    one = np.concatenate([numbers[:, :-1][across], numbers[:-1][down]])
    other = np.concatenate([numbers[:, 1:][across], numbers[1:][down]])
    graph = coo_matrix((np.ones(len(one), np.bool_), (one, other)), shape=(height * width, height * width))
    return np.asarray(_graphs.connected_components(graph, directed=False)[1], np.int32).reshape(height, width)


@dataclass(frozen=True)
class Parts:
    """What is known of each of n parts.

    labels: (h, w). area: (n,) pixels. salience: (n,) mean, 0…1. colour: (n, 3) mean, 8-bit Lab. centre: (n, 2) x y in
    shares of the picture. border: (n,) pixels on the canvas's edge, of border_length in all. spread: (n,) how far apart
    the two most distant runs of them lie, in shares of the edge; 0 where there is one run.
    """

    labels: Labels
    area: Numbers
    salience: Numbers
    colour: Numbers
    centre: Numbers
    border: Numbers
    border_length: int
    spread: Numbers

    @staticmethod
    def of(image: Rgb, salience: Floats, labels: Labels) -> "Parts":
        """The parts `labels` (h, w) of `image` (h, w, 3) with its salience (h, w)."""
        height, width = labels.shape
        flat, count = labels.ravel(), int(labels.max()) + 1
        area = np.bincount(flat, minlength=count).astype(np.float64)

        def mean(values: NDArray[np.generic]) -> Numbers:
            return np.bincount(flat, values.ravel().astype(np.float64), count) / area

        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        rows, columns = np.mgrid[:height, :width]
        border, spread, length = _border(labels, count)
        return Parts(
            labels=labels,
            area=area,
            salience=mean(salience),
            colour=np.stack([mean(lab[..., c]) for c in range(3)], 1),
            centre=np.stack([mean(columns) / width, mean(rows) / height], 1),
            border=border,
            border_length=length,
            spread=spread,
        )


def _border(labels: Labels, count: int) -> tuple[Numbers, Numbers, int]:
    """Each part's pixels on the canvas's edge and how far apart they lie, and the edge's length: see Parts."""
    around = np.concatenate([labels[0], labels[1:, -1], labels[-1, :-1][::-1], labels[1:-1, 0][::-1]])
    pixels = np.bincount(around, minlength=count).astype(np.float64)
    starts = around != np.roll(around, 1)
    spread = np.zeros(count)
    for part in np.flatnonzero(np.bincount(around[starts], minlength=count) >= 2):
        at = np.flatnonzero(around == part)
        gaps = np.sort(np.diff(np.append(at, at[0] + len(around))))
        spread[part] = gaps[-2] / len(around)
    return pixels, spread, len(around)
