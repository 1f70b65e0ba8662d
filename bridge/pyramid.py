"""Known pixels continued smoothly into unknown ones: the push-pull pyramid, in linear time.

Pulling halves a picture again and again, so that what is known lies ever closer together; pushing goes back up, and at
each size gives what is unknown the colours of the size above. How the two are mixed is the callers' choice.
Source: Gortler and others, "The Lumigraph" (1996), section 3.4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

LEAST_WEIGHT = 1e-6
"""Divisors are held over this; what weighs less is unknown."""
GAIN = 4.0
"""By how much a block's weight is raised, up to 1: a block with one known pixel of four is known a level up."""
HARMONIC_ROUNDS = 12
"""How often `harmonic` relaxes each size: enough to take away the blocks that enlarging leaves."""
HARMONIC_HELD = 0.5
"""The weight from which a pixel keeps its value in `harmonic`."""
HARMONIC_SHORTEST = 4
"""Pixels on the shorter side: smaller pictures are not relaxed."""
SPREAD_ROUNDS = 6
"""How often `spread` relaxes each size: enough to continue a linear gradient as one."""
SPREAD_LONGEST = 2
"""Pixels on the longer side of the smallest picture in `spread`."""


@dataclass(frozen=True)
class Level:
    """One size of a picture. weighted: (h, w, C) float32, values times weights; weights: (h, w) float32."""

    weighted: Floats
    weights: Floats

    @staticmethod
    def of(values: Floats, weights: Floats) -> "Level":
        """The picture (h, w, C) whose pixels are known as far as `weights` (h, w) 0…1 says."""
        return Level(values * weights[..., None], weights)

    @property
    def values(self) -> Floats:
        """(h, w, C), the weights divided out again."""
        return quotient(self.weighted, self.weights[..., None])

    def average(self) -> Floats:
        """(C,), the mean of what is known; 0 where nothing is."""
        return _float32(self.weighted.sum((0, 1)) / max(float(self.weights.sum()), LEAST_WEIGHT))


Mix = Callable[[Level, Floats], Floats]
"""Makes one picture (h, w, C) of a level and of the size above, enlarged to it."""


def pull(level: Level, *, longest: int = 1, shortest: int = 0, gain: float = 1.0) -> list[Level]:
    """`level` and ever smaller ones of half the size, the largest first.

    The smallest has at most `longest` pixels on its longer side, or at most `shortest` on the shorter one.
    gain: see GAIN; at 1 a block's weight is its pixels' mean.
    """
    levels = [level]
    while max(levels[-1].weights.shape) > longest and min(levels[-1].weights.shape) > shortest:
        weighted, weights = levels[-1].weighted, levels[-1].weights
        size = ((weights.shape[1] + 1) // 2, (weights.shape[0] + 1) // 2)
        weighted, weights = reduced(weighted, size), reduced(weights[..., None], size)[..., 0]
        if gain != 1:
            raised = quotient(np.minimum(weights * gain, 1), weights)
            weighted, weights = weighted * raised[..., None], weights * raised
        levels.append(Level(weighted, weights))
    return levels


def push(levels: Sequence[Level], top: Floats, mix: Mix) -> Floats:
    """`top` (h, w, C), the picture above the last of `levels`, carried down to the size of the first."""
    for level in reversed(levels):
        top = mix(level, enlarged(top, level.weights.shape[1], level.weights.shape[0]))
    return top


def fill_up(level: Level, above: Floats) -> Floats:
    """A mix: each pixel's own value as far as it is known, for the rest the one above. Weights are at most 1."""
    return np.add(level.weighted, (1 - level.weights)[..., None] * above, dtype=np.float32)


def with_prior(weight: float) -> Mix:
    """The mix in which the value above counts as much as a pixel of `weight`: it decides only where little is known."""

    def mix(level: Level, above: Floats) -> Floats:
        return _float32((level.weighted + weight * above) / (level.weights[..., None] + weight))

    return mix


def relaxed(rounds: int, mean: Callable[[Floats], Floats], held: float = LEAST_WEIGHT) -> Mix:
    """The mix in which known pixels keep their values and the others come near to the mean of their neighbours.

    held: the weight from which a pixel is known. rounds: Jacobi steps towards Laplace's equation. mean: gives each
    pixel of (h, w, C) the mean of its neighbourhood.
    """

    def mix(level: Level, above: Floats) -> Floats:
        known = (level.weights >= held)[..., None]
        fixed = level.values
        out = np.where(known, fixed, above)
        if not known.all():
            for _ in range(rounds):
                out = np.where(known, fixed, mean(out))
        return out

    return mix


def box_mean(values: Floats) -> Floats:
    """The mean of 3×3 pixels."""
    return _float32(cv2.blur(values, (3, 3), borderType=cv2.BORDER_REFLECT_101)).reshape(values.shape)


_BINOMIAL = np.array([0.25, 0.5, 0.25], np.float32)


def binomial_mean(values: Floats) -> Floats:
    """The mean of 3×3 pixels, the nearer ones weighing more."""
    mean = cv2.sepFilter2D(values, cv2.CV_32F, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REPLICATE)
    return _float32(mean).reshape(values.shape)


def push_pull(values: Floats, weights: Floats) -> Floats:
    """`values` (H, W, C) float32, of any range, filled where `weights` (H, W) float32 0…1 is 0.

    Pixels of weight 1 keep their value. Where nothing is known the result is 0.
    """
    return _filled(Level.of(values, weights))


def _filled(level: Level) -> Floats:
    *levels, top = pull(level, gain=GAIN)
    return push(levels, top.values, fill_up)


def harmonic(values: Floats, weights: Floats) -> Floats:
    """`values` (H, W, C) float32 with each pixel of `weights` (H, W) below one half the mean of its neighbours.

    So smooth a surface has neither peaks nor blocks, as a soap film has none; its cost is a few times push_pull's.
    """
    *levels, top = pull(Level.of(values, weights), shortest=HARMONIC_SHORTEST)
    return push(levels, _filled(top), relaxed(HARMONIC_ROUNDS, binomial_mean, HARMONIC_HELD))


def spread(values: Floats, known: Bools) -> Floats:
    """`values` (H, W, C) float32 with those outside `known` (H, W) a smooth continuation of those inside.

    A linear gradient is continued as one. All zero where nothing is known.
    """
    *levels, top = pull(Level.of(values, known.astype(np.float32)), longest=SPREAD_LONGEST)
    start = np.where(top.weights[..., None] >= LEAST_WEIGHT, top.values, top.average())
    return push(levels, start, relaxed(SPREAD_ROUNDS, box_mean))


def quotient(values: Floats, weights: Floats) -> Floats:
    """`values` / `weights`, whose shapes broadcast; weights near 0 are raised to LEAST_WEIGHT."""
    return np.divide(values, np.maximum(weights, LEAST_WEIGHT), dtype=np.float32)


def reduced(values: Floats, size: tuple[int, int]) -> Floats:
    """(H, W, C) float32 → (h, w, C) at `size` (width, height), each pixel the mean of those it covers."""
    return _float32(cv2.resize(values, size, interpolation=cv2.INTER_AREA)).reshape(size[1], size[0], -1)


def enlarged(values: Floats, width: int, height: int) -> Floats:
    """(h, w, C) float32 → (height, width, C), linear between the pixels' centres."""
    return _float32(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)).reshape(height, width, -1)


def shrunk_known(values: Floats, known: Bools, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """`values` (H, W, C) and what is known of them at `size` (width, height), each the mean of known pixels only.

    → values (h, w, C), share of known pixels (h, w) 0…1: the hole's colours do not bleed into its surroundings.
    """
    share = known.astype(np.float32)
    weighted = values * share[..., None]
    if size == (values.shape[1], values.shape[0]):
        return weighted, share
    small, share = reduced(weighted, size), reduced(share[..., None], size)
    return quotient(small, share), share[..., 0]


def _float32(values: NDArray[np.generic]) -> Floats:
    return np.asarray(values, np.float32)
