"""How well a finished stack keeps its promise."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from bridge.finish.flatten import U8, Rows, flatten_rows, in_threads
from bridge.picture import Picture, Stack


@dataclass(frozen=True)
class Measured:
    """max_error: a channel's largest difference, 0–255, where either is visible. exact_share: identical pixels, 0–1."""

    max_error: int
    exact_share: float
    notes: list[str] = field(default_factory=list[str])


def measure(stack: Stack, picture: Picture) -> Measured:
    """Flatten the stack and compare it with the picture; colours under alpha 0 do not count."""
    tiles = in_threads(lambda rows: _measure_tile(stack, picture.pixels, rows), stack.height)
    worst, same = zip(*tiles, strict=True)
    return Measured(max(worst), sum(same) / (stack.width * stack.height))


def _measure_tile(stack: Stack, source: U8, rows: Rows) -> tuple[int, int]:
    wanted = source[rows[0] : rows[1]]
    tile = np.zeros_like(wanted)
    flatten_rows(stack, rows, tile)
    difference = cv2.absdiff(tile, wanted)
    difference[(tile[..., 3] == 0) & (wanted[..., 3] == 0)] = 0
    worst = int(difference.max())
    same = difference.shape[0] * difference.shape[1]
    return worst, same if worst == 0 else int((difference.max(-1) == 0).sum())
