"""Grain of a photograph or of paper, given to a smooth fill so that it does not look wiped."""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FAINTEST = 0.4  # levels; less than this is rounding
STRONGEST = 8.0
BAND = 24  # pixels around the hole where the grain is measured
SMOOTHED = 2.0  # pixels; what is coarser than this is shape, not grain


def with_grain(filled: Floats, picture: NDArray[np.uint8], hole: Bools, known: Bools, seed: int) -> Floats:
    """`filled` (H, W, 3) with noise in `hole` of the strength, colour and coarseness of what is known around it."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    top, left = max(0, rows[0] - BAND), max(0, columns[0] - BAND)
    box = np.s_[top : rows[-1] + BAND + 1, left : columns[-1] + BAND + 1]
    inside = hole[box]
    rough = picture[box].astype(np.float32)
    rough -= cv2.GaussianBlur(rough, (0, 0), SMOOTHED)
    # Pixels next to unknown ones are blurred with them: their difference is an edge's, not the grain's.
    calm = cv2.erode(known[box].astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    samples = rough[calm]
    if len(samples) < 100:
        return filled
    spread = 1.4826 * np.median(np.abs(samples), 0)  # the median: drawn edges in the band are no grain
    if spread.max() < FAINTEST:
        return filled
    samples = samples[(np.abs(samples) <= 3 * spread + 0.5).all(1)]
    if len(samples) < 100:
        return filled
    covariance = np.cov(samples.T) + 1e-6 * np.eye(3)
    strength = np.sqrt(np.trace(covariance) / 3)
    mix = np.linalg.cholesky(covariance) * min(1.0, STRONGEST / strength)
    noise = np.random.default_rng(seed).standard_normal((*inside.shape, 3), np.float32)
    noise = _as_coarse(noise, _neighbours_alike(rough, calm, spread))
    out = filled.copy()
    out[box][inside] += (noise[inside] @ mix.T).astype(np.float32)
    return out


def _neighbours_alike(rough: Floats, calm: Bools, spread: NDArray[np.float64]) -> float:
    """The correlation of neighbouring pixels' grain, −1…1."""
    limit = 3 * spread + 0.5
    both = calm[:, 1:] & calm[:, :-1]
    a, b = rough[:, 1:][both], rough[:, :-1][both]
    usual = (np.abs(a) <= limit).all(1) & (np.abs(b) <= limit).all(1)
    a, b = a[usual], b[usual]
    return float((a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-9))


def _as_coarse(noise: Floats, alike: float) -> Floats:
    """White noise of variance 1 blurred until neighbours correlate by `alike`, its variance kept."""
    if alike < 0.05:
        return noise
    # A Gaussian blur of σ turns white noise into one with correlation exp(−1 / 4σ²) between neighbours.
    sigma = float(np.clip(np.sqrt(-1 / (4 * np.log(min(alike, 0.95)))), 0.3, 2.0))
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma), np.float32)
    return soft / np.float32(max(float(soft.std()), 1e-6))
