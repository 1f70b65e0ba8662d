"""From a rough cut to soft edges: closed-form matting on the unknown band, and its answer carried up to full
resolution."""

import cv2
import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import cg

Alpha = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rgb = NDArray[np.uint8]


def disc(radius: int) -> NDArray[np.uint8]:
    """A round structuring element of (2·radius+1)² pixels."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def grow(mask: Mask, radius: int) -> Mask:
    """`mask` (H, W) dilated by `radius` pixels."""
    return cv2.dilate(mask.astype(np.uint8), disc(radius)) > 0 if radius > 0 else mask


def shrink(mask: Mask, radius: int) -> Mask:
    """`mask` (H, W) eroded by `radius` pixels; outside the picture counts as inside, so an object cut off by the
    border stays whole there."""
    return cv2.erode(mask.astype(np.uint8), disc(radius)) > 0 if radius > 0 else mask


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
    if not unknown.any() or min(height, width) < 3:
        return trimap.astype(np.float32)
    laplacian = _laplacian(image.astype(np.float64) / 255, unknown, epsilon)
    free, fixed = np.flatnonzero(unknown.ravel()), np.flatnonzero(~unknown.ravel())
    known = trimap.ravel().astype(np.float64)
    rows = laplacian[free]
    system = rows[:, free] + 1e-9 * sparse.identity(len(free), format="csr")
    right = -rows[:, fixed] @ known[fixed]
    jacobi = sparse.diags(1 / np.maximum(system.diagonal(), 1e-8))
    solved, _ = cg(system, right, x0=np.full(len(free), 0.5), rtol=tolerance, maxiter=iterations, M=jacobi)
    alpha = known.copy()
    alpha[free] = solved
    return alpha.reshape(height, width).clip(0, 1).astype(np.float32)


def _laplacian(image: NDArray[np.float64], unknown: Mask, epsilon: float) -> sparse.csr_matrix:
    """The matting Laplacian (H·W, H·W) over the 3×3 windows that hold an unknown pixel."""
    height, width = unknown.shape
    near = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(numbers, (3, 3)).reshape(height - 2, width - 2, 9)[near]
    colours = image.reshape(-1, 3)[windows]
    centred = colours - colours.mean(1, keepdims=True)
    covariance = np.matmul(centred.transpose(0, 2, 1), centred) / 9 + epsilon / 9 * np.eye(3)
    affinity = np.matmul(np.matmul(centred, np.linalg.inv(covariance)), centred.transpose(0, 2, 1))
    values = np.eye(9) - (1 + affinity) / 9
    rows = np.repeat(windows, 9, axis=1).ravel()
    columns = np.tile(windows, (1, 9)).ravel()
    size = height * width
    return sparse.coo_matrix((values.ravel(), (rows, columns)), shape=(size, size)).tocsr()  # type: ignore[return-value]  # the stubs name the array class


def upsample(image: Rgb, small_image: Rgb, small_alpha: Alpha, *, radius: int = 3, epsilon: float = 1e-5) -> Alpha:
    """`small_alpha`, found on `small_image`, carried to `image` (H, W, 3) uint8, whose colours say where the edges lie.

    The fast guided filter (He and Sun, 2015) with a colour guide: alpha is locally linear in the colour, over windows
    of 2·radius+1 small pixels; held between the local minimum and maximum of the small alpha, so that nothing rings.
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
    square = np.ones((3, 3), np.uint8)
    low = cv2.resize(cv2.erode(small_alpha, square), size)
    high = cv2.resize(cv2.dilate(small_alpha, square), size)
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
