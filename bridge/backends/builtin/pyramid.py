"""Smooth fields over holes: the push-pull pyramid."""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def push_pull(values: Floats, weights: Floats) -> Floats:
    """Fill where `weights` is 0 from all around, smoothly, in linear time.

    values: (H, W) or (H, W, C) float32, of any range; weights: (H, W) float32 0…1, how far a pixel is known. Known
    pixels (weight 1) keep their value. Where nothing is known the result is 0.
    Source: Gortler and others, "The Lumigraph" (1996), section 3.4.
    """
    flat = values.ndim == 2
    known = weights[..., None]
    levels = [((values[..., None] if flat else values) * known, weights)]
    while max(levels[-1][1].shape) > 1:
        weighted, weight = levels[-1]
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        smaller, weight = reduced(weighted, size), reduced(weight[..., None], size)[..., 0]
        # A block with any known pixel is known a level up: its mean then stands for it, however few they were.
        gain = _quotient(np.minimum(weight * 4, 1), weight)
        levels.append((smaller * gain[..., None], weight * gain))
    weighted, weight = levels.pop()
    out = _quotient(weighted, weight[..., None])
    for weighted, weight in reversed(levels):
        above = enlarged(out, weight.shape[1], weight.shape[0])
        out = np.add(weighted, (1 - weight)[..., None] * above, dtype=np.float32)
    return out[..., 0] if flat else out


def _quotient(values: Floats, weights: Floats) -> Floats:
    return np.divide(values, np.maximum(weights, 1e-6), dtype=np.float32)


def harmonic(values: Floats, weights: Floats, rounds: int = 12) -> Floats:
    """Fill where `weights` is below one half so that each pixel is the mean of its neighbours, as a soap film would.

    values: (H, W, C) float32; weights: (H, W) float32 0…1. Coarse to fine: each size starts from the smaller one's film
    and is relaxed `rounds` times, which takes away the blocks that push-pull leaves.
    """
    height, width = weights.shape
    if min(height, width) <= 4:
        return push_pull(values, weights)
    size = ((width + 1) // 2, (height + 1) // 2)
    small, share = shrunk_weighted(values, weights, size)
    film = enlarged(harmonic(small, share, rounds), width, height)
    free = (weights < 0.5)[..., None]
    film = np.where(free, film, values)
    for _ in range(rounds):
        mean = cv2.sepFilter2D(film, cv2.CV_32F, _CROSS, _CROSS, borderType=cv2.BORDER_REPLICATE).reshape(film.shape)
        film = np.where(free, mean, film)
    return film


_CROSS = np.array([0.25, 0.5, 0.25], np.float32)


def shrunk_weighted(values: Floats, weights: Floats, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """`values` (H, W, C) at `size` (width, height), the mean of what each covers. → values, mean weights."""
    small = reduced(values * weights[..., None], size)
    share = reduced(weights[..., None], size)
    return _quotient(small, share), share[..., 0]


def reduced(values: Floats, size: tuple[int, int]) -> Floats:
    """(H, W, C) float32 → (h, w, C) at `size` (width, height), each pixel the mean of those it covers."""
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(size[1], size[0], -1)


def enlarged(values: Floats, width: int, height: int, how: int = cv2.INTER_LINEAR) -> Floats:
    """(h, w, C) float32 → (height, width, C)."""
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), np.float32).reshape(height, width, -1)


def shrunk_known(values: Floats, known: NDArray[np.bool_], size: tuple[int, int]) -> tuple[Floats, Floats]:
    """`values` (H, W, C) and what is known of them at `size` (width, height), each the mean of known pixels only.

    → values (h, w, C), share of known pixels (h, w) 0…1: the hole's colours do not bleed into its surroundings.
    """
    share = known.astype(np.float32)
    if size == (values.shape[1], values.shape[0]):
        return values * share[..., None], share
    return shrunk_weighted(values, share, size)
