"""The object's own colours under its soft edge, without the old background's tint."""

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]


def estimate_foreground(
    image: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    *,
    smooth: float = 1e-5,
    gradient: float = 1.0,
    coarse_steps: int = 10,
    fine_steps: int = 2,
) -> Colours:
    """Foreground colours (H, W, 3) float32 0…255 of `image` (H, W, 3) uint8 under `alpha` (H, W) float32 0…1.

    Fast Multi-Level Foreground Estimation (Germer, Uelwer, Conrad and Harmeling, 2020): from a single pixel up to the
    full size, each level starts from the one below and lets every pixel agree with the picture (α F + (1−α) B = C)
    and with its four neighbours, the more so where alpha changes. `smooth` and `gradient` are the paper's ε_r and ω;
    levels of at most 32 pixels take `coarse_steps`, larger ones `fine_steps`.
    """
    height, width = alpha.shape
    colours = (image / 255).astype(np.float32)
    foreground = background = np.zeros((1, 1, 3), np.float32)
    for size in _levels(width, height):
        level_image = _resized(colours, size, cv2.INTER_AREA)
        level_alpha = _resized(alpha, size, cv2.INTER_AREA)
        foreground = _resized(foreground, size, cv2.INTER_NEAREST)
        background = _resized(background, size, cv2.INTER_NEAREST)
        steps = coarse_steps if max(size) <= 32 else fine_steps
        foreground, background = _relax(level_image, level_alpha, foreground, background, smooth, gradient, steps)
    return foreground * 255


def _resized(values: Colours, size: tuple[int, int], how: int) -> Colours:
    """`values` at `size` (width, height), its channels kept where OpenCV would drop them."""
    return np.asarray(cv2.resize(values, size, interpolation=how), np.float32).reshape(
        size[1], size[0], *values.shape[2:]
    )


def _levels(width: int, height: int) -> list[tuple[int, int]]:
    """Sizes from 1×1 to width × height, doubling."""
    count = max(1, int(np.ceil(np.log2(max(width, height)))))
    return [(max(1, round(width ** (i / count))), max(1, round(height ** (i / count)))) for i in range(count + 1)]


def _relax(
    image: Colours,
    alpha: NDArray[np.float32],
    foreground: Colours,
    background: Colours,
    smooth: float,
    gradient: float,
    steps: int,
) -> tuple[Colours, Colours]:
    """`steps` Jacobi steps of the level's least squares, each pixel a 2×2 system in (F, B) that is solved in closed
    form."""
    padded = np.pad(alpha, 1, mode="edge")
    views = (np.s_[:-2, 1:-1], np.s_[2:, 1:-1], np.s_[1:-1, :-2], np.s_[1:-1, 2:])
    weights = [smooth + gradient * np.abs(alpha - padded[view]) for view in views]
    total = np.add.reduce(weights)
    rest = 1 - alpha
    ff, fb, bb = alpha * alpha + total, alpha * rest, rest * rest + total
    determinant = (ff * bb - fb * fb)[..., None]
    edge = ((1, 1), (1, 1), (0, 0))
    for _ in range(steps):
        around_f, around_b = np.pad(foreground, edge, mode="edge"), np.pad(background, edge, mode="edge")
        right_f, right_b = alpha[..., None] * image, rest[..., None] * image
        for weight, view in zip(weights, views, strict=True):
            right_f += weight[..., None] * around_f[view]
            right_b += weight[..., None] * around_b[view]
        foreground = np.clip((bb[..., None] * right_f - fb[..., None] * right_b) / determinant, 0, 1)
        background = np.clip((ff[..., None] * right_b - fb[..., None] * right_f) / determinant, 0, 1)
    return foreground.astype(np.float32), background.astype(np.float32)
