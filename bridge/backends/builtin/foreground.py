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
    coarse_side: int = 32,
) -> Colours:
    """Foreground colours (H, W, 3) float32 0…255 of `image` (H, W, 3) uint8 under `alpha` (H, W) float32 0…1.

    Fast Multi-Level Foreground Estimation (Germer, Uelwer, Conrad and Harmeling, 2020): from a single pixel up to the
    full size, each level starts from the one below and lets every pixel agree with the picture (α F + (1−α) B = C)
    and with its four neighbours, the more so where alpha changes. `smooth` and `gradient` are the paper's ε_r and ω;
    levels of at most `coarse_side` pixels a side take `coarse_steps`, larger ones `fine_steps`.
    """
    height, width = alpha.shape
    colours = (image / 255).astype(np.float32)
    foreground = background = np.zeros((1, 1, 3), np.float32)
    for size in _levels(width, height):
        level_image = _resized(colours, size, cv2.INTER_AREA)
        level_alpha = _resized(alpha, size, cv2.INTER_AREA)
        foreground = _resized(foreground, size, cv2.INTER_NEAREST)
        background = _resized(background, size, cv2.INTER_NEAREST)
        steps = coarse_steps if max(size) <= coarse_side else fine_steps
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
    """`steps` Jacobi steps of the level's least squares, each pixel a 2×2 system in (F, B), solved in closed form.

    Only soft pixels are solved: an opaque pixel's foreground is the picture, a clear one's background, and the other of
    the two keeps what the level below said. The cost follows the length of the edge, not the area.
    """
    np.copyto(foreground, image, where=(alpha >= 1)[..., None])
    np.copyto(background, image, where=(alpha <= 0)[..., None])
    rows, columns = np.nonzero((alpha > 0) & (alpha < 1))
    last_row, last_column = alpha.shape[0] - 1, alpha.shape[1] - 1
    neighbours = (
        (np.maximum(rows - 1, 0), columns),
        (np.minimum(rows + 1, last_row), columns),
        (rows, np.maximum(columns - 1, 0)),
        (rows, np.minimum(columns + 1, last_column)),
    )
    own, colours = alpha[rows, columns], image[rows, columns]
    weights = [smooth + gradient * np.abs(own - alpha[at])[:, None] for at in neighbours]
    total = np.add.reduce(weights)
    own = own[:, None]
    rest = 1 - own
    ff, fb, bb = own * own + total, own * rest, rest * rest + total
    determinant = ff * bb - fb * fb
    for _ in range(steps):
        right_f, right_b = own * colours, rest * colours
        for weight, at in zip(weights, neighbours, strict=True):
            right_f += weight * foreground[at]
            right_b += weight * background[at]
        foreground[rows, columns] = np.clip((bb * right_f - fb * right_b) / determinant, 0, 1)
        background[rows, columns] = np.clip((ff * right_b - fb * right_f) / determinant, 0, 1)
    return foreground, background
