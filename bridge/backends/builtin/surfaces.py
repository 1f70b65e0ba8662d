"""Colours fitted by smooth surfaces, and the ground of a line of text where it is one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, grow
from bridge.pyramid import spread

Numbers = NDArray[np.float64]

DEGREE = 3
"""Of the surface in x and y."""
FIT_ROUNDS = 6
"""Of fitting a surface and trusting less what lies off it."""
FIT_MISS = 3.0
"""Levels: what lies no further off than this, or than the median, is trusted fully."""


@dataclass(frozen=True)
class SurfaceParams:
    """When a ground is smooth. Levels of 255."""

    fewest: int = 60
    """Pixels; with fewer around the line no surface is fitted."""
    sample: int = 1500
    """Pixels that the surface is fitted to, about."""
    usual: float = 75.0
    """The percentile of the pixels' misses that is the ground's noise …"""
    most_noise: float = 6.0
    """… and what it is in a smooth ground at most."""
    fits: tuple[float, float] = (8.0, 3.0)
    """A pixel no further off the surface than this, or than so many times the noise, is ground …"""
    plain: tuple[float, float] = (6.0, 2.0)
    """… and one no further than this off the ground that was made of such pixels shows no more than ground."""
    collar: float = 0.25
    """Heights of the line around the strokes' reach …"""
    collar_fits: float = 0.96
    """… of which this share must be ground for the ground to be smooth near the line, too."""


PARAMS = SurfaceParams()


@dataclass(frozen=True)
class SmoothGround:
    """A smooth ground.

    ground: (h, w, 3), its colours; noise: its grain in levels; plain: (h, w), where the picture is no more than ground;
    near: whether that holds all around the line, not only by and large.
    """

    ground: Floats
    noise: float
    plain: Mask
    near: bool


def smooth_ground(
    crop: Floats, reach: Mask, taken: Mask, height: float, params: SurfaceParams = PARAMS
) -> SmoothGround | None:
    """The ground of `crop` (h, w, 3) 0…255 as a smooth surface through its surroundings, if it is one.

    reach: (h, w), where strokes may be; taken: (h, w), other lines; height: of the line in pixels.
    """
    free = ~reach & ~taken
    y, x = np.nonzero(free)
    if len(x) < params.fewest:
        return None
    step = max(1, len(x) // params.sample)
    y, x = y[::step], x[::step]
    h, w = crop.shape[:2]
    fit, miss = robust_fit(_terms(x / w, y / h), crop[y, x])
    noise = float(np.percentile(miss, params.usual))
    if noise > params.most_noise:
        return None
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    surface = (_terms((columns / w).ravel(), (rows / h).ravel()) @ fit).reshape(crop.shape).astype(np.float32)
    rest = crop - surface
    fits = np.abs(rest).max(-1) < max(params.fits[0], params.fits[1] * noise)
    ground = surface + spread(rest, free & fits)
    plain = np.abs(crop - ground).max(-1) < max(params.plain[0], params.plain[1] * noise)
    collar = grow(reach, max(2, round(params.collar * height))) & free
    return SmoothGround(ground, noise, plain, bool(collar.any() and fits[collar].mean() > params.collar_fits))


def _terms(x: NDArray[Any], y: NDArray[Any]) -> Numbers:
    """(n, 10): the powers of x and y up to DEGREE together."""
    return np.stack([x**i * y**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], 1).astype(np.float64)


def robust_fit(design: Numbers, colours: Floats) -> tuple[Numbers, Numbers]:
    """Least squares in which what is off the surface counts less and less.

    design: (n, k); colours: (n, 3). Returns the coefficients (k, 3) and each sample's miss (n,), its worst channel's.
    """
    fit, miss = np.zeros((design.shape[1], colours.shape[1])), np.abs(colours - np.median(colours, axis=0)).max(-1)
    slack = 1e-6 * np.eye(design.shape[1])
    for _ in range(FIT_ROUNDS):
        # starting from the commonest colour, so that a shape beside the line does not bend the first surface to itself
        weights = 1 / np.maximum(1.0, miss / max(FIT_MISS, float(np.median(miss)))) ** 2
        weighted = design.T * weights
        fit = np.asarray(np.linalg.solve(weighted @ design + slack, weighted @ colours), np.float64)
        miss = np.abs(colours - design @ fit).max(-1)
    return fit, np.asarray(miss, np.float64)
