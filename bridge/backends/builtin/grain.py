"""Grain of a photograph or of paper, given to a smooth fill so that it does not look wiped."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, shrink_square

NORMAL = 1.4826
"""A normal distribution's standard deviation, in median absolute deviations."""


@dataclass(frozen=True)
class GrainParams:
    """How grain is measured around a hole, and which of it is given to the fill. Strengths in levels of 255."""

    band: int = 24
    """Pixels around the hole where the grain is measured."""
    smoothed: float = 2.0
    """Pixels (sigma); what is coarser than this is shape, not grain."""
    clear: int = 4
    """Pixels this close to unknown ones were blurred with them: their difference is an edge's."""
    fewest: int = 100
    """Pixels; fewer tell nothing."""
    faintest: float = 0.4
    """Less than this is rounding."""
    strongest: float = 8.0
    """More than this is not given."""
    outlying: float = 3.0
    """Standard deviations beyond which a difference is a drawn edge's …"""
    slack: float = 0.5
    """… and levels that are added to them."""
    white: float = 0.05
    """Grain whose neighbours correlate less than this is given as it is drawn, without a blur."""
    coarsest: float = 0.95
    """Neighbours that correlate more than this count as if they did so much."""
    least_blur: float = 0.3
    """Pixels (sigma) of the finest blur …"""
    most_blur: float = 2.0
    """… and of the coarsest."""


PARAMS = GrainParams()


def with_grain(
    filled: Floats, picture: NDArray[np.uint8], hole: Mask, known: Mask, seed: int, params: GrainParams = PARAMS
) -> Floats:
    """`filled` (H, W, 3) with noise in `hole` of the strength, colour and coarseness of what is known around it.

    picture: (H, W, 3); hole, known: (H, W).
    """
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    top, left = max(0, int(rows[0]) - params.band), max(0, int(columns[0]) - params.band)
    box = np.s_[top : int(rows[-1]) + params.band + 1, left : int(columns[-1]) + params.band + 1]
    inside = hole[box]
    rough = picture[box].astype(np.float32)
    rough -= cv2.GaussianBlur(rough, (0, 0), params.smoothed)
    calm = shrink_square(known[box], params.clear)
    samples = rough[calm]
    if len(samples) < params.fewest:
        return filled
    deviation = NORMAL * np.median(np.abs(samples), 0)  # by the median: drawn edges in the band are no grain
    if deviation.max() < params.faintest:
        return filled
    limit = params.outlying * deviation + params.slack
    samples = samples[(np.abs(samples) <= limit).all(1)]
    if len(samples) < params.fewest:
        return filled
    covariance = np.cov(samples.T) + 1e-6 * np.eye(3)
    strength = np.sqrt(np.trace(covariance) / 3)
    mix = np.linalg.cholesky(covariance) * min(1.0, params.strongest / strength)
    noise = np.random.default_rng(seed).standard_normal((*inside.shape, 3), np.float32)
    noise = _as_coarse(noise, _neighbours_alike(rough, calm, limit), params)
    out = filled.copy()
    out[box][inside] += (noise[inside] @ mix.T).astype(np.float32)
    return out


def _neighbours_alike(rough: Floats, calm: Mask, limit: NDArray[np.floating]) -> float:
    """The correlation of neighbouring pixels' grain, −1…1; limit: (3,), beyond which a difference is no grain."""
    both = calm[:, 1:] & calm[:, :-1]
    a, b = rough[:, 1:][both], rough[:, :-1][both]
    usual = (np.abs(a) <= limit).all(1) & (np.abs(b) <= limit).all(1)
    a, b = a[usual], b[usual]
    return float((a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-9))


def _as_coarse(noise: Floats, alike: float, params: GrainParams) -> Floats:
    """White noise of variance 1 blurred until neighbours correlate by `alike`, its variance kept."""
    if alike < params.white:
        return noise
    # A Gaussian blur of σ turns white noise into one with correlation exp(−1 / 4σ²) between neighbours.
    sigma = np.sqrt(-1 / (4 * np.log(min(alike, params.coarsest))))
    sigma = float(np.clip(sigma, params.least_blur, params.most_blur))
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma), np.float32)
    return soft / np.float32(max(float(soft.std()), 1e-6))
