"""From a rough cut to soft edges: closed-form matting on the unknown band, and the way back to full resolution."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from bridge.backends.builtin.masks import SQUARE, Mask, grow, grow_square, shrink

Alpha = NDArray[np.float32]
Rgb = NDArray[np.uint8]

_sparse: Any = sparse  # its types say little
_linalg: Any = linalg
WINDOW = 3
"""Pixels a side of the matting Laplacian's windows."""
PIXELS = WINDOW * WINDOW
"""In one of them."""
LEAST_DIAGONAL = 1e-8
"""The preconditioner divides by no less."""
REGULAR = 1e-9
"""Added to the system's diagonal, so that it always has a solution."""


def trimap_around(mask: Mask, band: int) -> Alpha:
    """Trimap (H, W) of a cut: 1 inside, 0 outside, 0.5 within `band` pixels of its edge."""
    trimap = np.full(mask.shape, 0.5, np.float32)
    trimap[shrink(mask, band)] = 1
    trimap[~grow(mask, band)] = 0
    return trimap


def closed_form(
    image: Rgb, trimap: Alpha, *, epsilon: float = 1e-6, iterations: int = 400, tolerance: float = 1e-4
) -> Alpha:
    """Alpha (H, W) float32 0…1 of `image` (H, W, 3) uint8 that keeps `trimap` where that is 0 or 1 and solves the rest.

    The matting Laplacian of Levin, Lischinski and Weiss (A Closed-Form Solution to Natural Image Matting, 2006),
    built only for the 3×3 windows that hold an unknown pixel: its cost follows the length of the edge, not the area.
    `epsilon` is the paper's, for colours 0…1; conjugate gradients stop after `iterations`, or at `tolerance` of the
    start.
    """
    height, width = trimap.shape
    unknown = (trimap > 0) & (trimap < 1)
    if not unknown.any() or min(height, width) < WINDOW:
        return trimap.astype(np.float32)
    laplacian = _laplacian(image.astype(np.float64) / 255, unknown, epsilon)
    free, fixed = np.flatnonzero(unknown.ravel()), np.flatnonzero(~unknown.ravel())
    known = trimap.ravel().astype(np.float64)
    rows = laplacian[free]
    system = rows[:, free] + REGULAR * _sparse.identity(len(free), format="csr")
    right = -rows[:, fixed] @ known[fixed]
    jacobi = _sparse.diags(1 / np.maximum(system.diagonal(), LEAST_DIAGONAL))
    start = np.full(len(free), 0.5)
    solved, _ = _linalg.cg(system, right, x0=start, rtol=tolerance, maxiter=iterations, M=jacobi)
    alpha = known.copy()
    alpha[free] = solved
    return alpha.reshape(height, width).clip(0, 1).astype(np.float32)


def _laplacian(image: NDArray[np.float64], unknown: Mask, epsilon: float) -> Any:
    """The matting Laplacian over the windows that hold an unknown pixel, a sparse (H·W, H·W) matrix in rows."""
    height, width = unknown.shape
    near = grow_square(unknown, WINDOW // 2)[1:-1, 1:-1]
    numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(numbers, (WINDOW, WINDOW))
    windows = windows.reshape(*near.shape, PIXELS)[near]
    colours = image.reshape(-1, 3)[windows]
    centred = colours - colours.mean(1, keepdims=True)
    covariance = np.matmul(centred.transpose(0, 2, 1), centred) / PIXELS + epsilon / PIXELS * np.eye(3)
    inverse = np.asarray(np.linalg.inv(covariance), np.float64)
    affinity = np.matmul(np.matmul(centred, inverse), centred.transpose(0, 2, 1))
    values = np.eye(PIXELS) - (1 + affinity) / PIXELS
    rows = np.repeat(windows, PIXELS, axis=1).ravel()
    columns = np.tile(windows, (1, PIXELS)).ravel()
    size = height * width
    return _sparse.coo_matrix((values.ravel(), (rows, columns)), shape=(size, size)).tocsr()


def upsample(image: Rgb, small_image: Rgb, small_alpha: Alpha, *, radius: int = 3, epsilon: float = 1e-5) -> Alpha:
    """`small_alpha`, found on `small_image`, at the size of `image` (H, W, 3) uint8, whose colours show the edges.

    The fast guided filter (He and Sun, 2015) with a colour guide: alpha is locally linear in the colour, over windows
    of 2·radius+1 small pixels, and `epsilon` is the paper's, for colours 0…1. Alpha stays between the local minimum and
    maximum of the small one: without that it overshoots beside edges.
    """
    size = (image.shape[1], image.shape[0])
    if image.shape[:2] == small_alpha.shape:
        return small_alpha
    slope, offset = _locally_linear((small_image / 255).astype(np.float32), small_alpha, radius, epsilon)
    alpha = cv2.resize(offset, size)
    for channel in range(3):
        alpha += cv2.resize(np.ascontiguousarray(slope[..., channel]), size) * (
            image[..., channel].astype(np.float32) / 255
        )
    low = cv2.resize(cv2.erode(small_alpha, SQUARE), size)
    high = cv2.resize(cv2.dilate(small_alpha, SQUARE), size)
    return np.clip(alpha, low, high).clip(0, 1).astype(np.float32)


def _locally_linear(
    guide: NDArray[np.float32], target: Alpha, radius: int, epsilon: float
) -> tuple[NDArray[np.float32], Alpha]:
    """Slope (h, w, 3) and offset (h, w) of the guided filter."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.blur(values, window).astype(np.float32)

    mean_guide, mean_target = mean(guide), mean(target)
    with_target = mean(guide * target[..., None]) - mean_guide * mean_target[..., None]
    covariance = np.empty((*target.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            entry = mean(guide[..., i] * guide[..., j]) - mean_guide[..., i] * mean_guide[..., j]
            covariance[..., i, j] = covariance[..., j, i] = entry + (epsilon if i == j else 0)
    slope = np.linalg.solve(covariance, with_target[..., None])[..., 0]
    offset = mean_target - (slope * mean_guide).sum(-1)
    return mean(slope), mean(offset)


def settle(alpha: Alpha, *, margin: float = 0.03) -> Alpha:
    """`alpha` stretched so that what is within `margin` of 0 or 1 is exactly that: a layer's inside is opaque, its
    outside empty."""
    return np.clip((alpha - margin) / (1 - 2 * margin), 0, 1).astype(np.float32)
