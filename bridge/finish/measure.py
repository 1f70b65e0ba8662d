"""How well a finished stack keeps its promise."""

from dataclasses import dataclass

import numpy as np

from bridge.finish.encoding import Encoding
from bridge.finish.flatten import Rows, flatten_rows, in_threads, tiles
from bridge.picture import Picture, Pixels, Stack


@dataclass(frozen=True)
class Measured:
    """max_error: a channel's largest difference, in the document's own numbers, where either is visible.

    levels: what full range is in those numbers (255, 65535 or 1). exact_share: identical pixels, 0–1.
    """

    max_error: float
    levels: float
    exact_share: float


def measure(stack: Stack, picture: Picture) -> Measured:
    """Flatten the stack and compare it with the picture; colours under alpha 0 do not count."""
    form = Encoding.of(picture)
    measured: list[tuple[float, int]] = []
    in_threads(
        lambda rows: measured.append(_measure_tile(stack, picture.pixels, form, rows)), tiles(stack.width, stack.height)
    )
    worst = max(error for error, _ in measured)
    return Measured(
        int(worst) if form.integer else worst,
        form.levels,
        sum(same for _, same in measured) / (stack.width * stack.height),
    )


def _measure_tile(stack: Stack, source: Pixels, form: Encoding, rows: Rows) -> tuple[float, int]:
    """A tile's largest difference, and how many of its pixels are identical."""
    wanted = source[rows[0] : rows[1]]
    tile = np.zeros_like(wanted)
    flatten_rows(stack, form, rows, tile)
    count = tile.shape[0] * tile.shape[1]
    differs = np.nonzero(_words(tile) != _words(wanted))[:2]
    if len(differs[0]) == 0:
        return 0.0, count
    one, other = tile[differs].astype(np.float64), wanted[differs].astype(np.float64)
    error = np.abs(one - other).max(-1)
    error[(one[:, -1] == 0) & (other[:, -1] == 0)] = 0
    places = differs[0] * tile.shape[1] + differs[1]
    return float(error.max()), count - len(np.unique(places[error > 0]))


def _words(pixels: Pixels) -> Pixels:
    """The bits of (h, w, n) pixels in the largest whole numbers that a pixel can be cut into."""
    size = pixels.shape[-1] * pixels.itemsize
    word = next(size_of for size_of in (8, 4, 2, 1) if size % size_of == 0)
    return np.ascontiguousarray(pixels).view(f"u{word}")
