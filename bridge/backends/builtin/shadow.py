"""Soft dark shadows that lettering casts on a photograph: found by their shape, as the ground is not known."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, grow


@dataclass(frozen=True)
class ShadowParams:
    """How a shadow is looked for. Lengths in heights of the line unless in pixels."""

    look_height: int = 36
    """Pixels: a shadow is looked for at this height of line, on a picture of at least …"""
    least_side: int = 8
    """… this many a side."""
    edge: float = 0.02
    """The share of a pixel that strokes cover from which it is not looked at."""
    far: float = 0.7
    """How far around the strokes the picture is looked at."""
    near_ring: float = 0.15
    """In this distance there must be ground to look at …"""
    far_ring: float = 0.4
    """… and beyond this one …"""
    fewest: int = 40
    """… in so many pixels each."""
    window: float = 0.9
    """What is wider than this is no shadow."""
    black: float = 6.0
    """Levels added to the lightness, so that its logarithm is not ruled by noise in the dark."""
    furthest: float = 0.15
    """A shadow's offset in x and y at most …"""
    steps: int = 5
    """… and in how many steps it is first looked for, from one side to the other …"""
    blur: float = 0.05
    """… with this blur (sigma)."""
    fine_step: float = 0.0375
    """It is looked for again by so much to each side of the best offset …"""
    fine_blurs: tuple[float, ...] = (0.6, 1.0, 1.5)
    """… and with so many times that blur."""
    like: float = 0.25
    """How well the picture's darkness must follow the shadow's shape (correlation) …"""
    first_like: float = 0.7
    """… of which this share is enough at first."""
    liker: float = 1.6
    """How much better it must follow the shape than its mirror image, which is where no shadow can be …"""
    least_mirrored: float = 0.05
    """… whose correlation counts as this at least."""
    strengths: tuple[float, float, float] = (0.1, 0.96, 0.05)
    """The strengths that are tried: from, to below, and in steps of."""
    faintest: float = 0.12
    """A shadow that is not stronger than this is none."""


PARAMS = ShadowParams()
LEAST_BLUR = 0.3
"""Pixels (sigma); less changes nothing."""


@dataclass(frozen=True)
class Shadow:
    """A black shadow: offset and blur (sigma) in heights of the line, strength 0…1."""

    x: float
    y: float
    blur: float
    strength: float


def find_shadow(crop: Floats, body: Mask, taken: Mask, height: float, params: ShadowParams = PARAMS) -> Shadow | None:
    """The shadow that the strokes `body` (h, w) cast in `crop` (h, w, 3) float32 0…255, or None.

    taken: (h, w), other lines; height: of the line in pixels.
    A shadow multiplies its ground by 1 − strength × the strokes' blurred and moved shape. The logarithm of the
    picture's lightness, without what changes slowly, is correlated with that of such shapes. It must be like the right
    one and unlike the mirrored one: otherwise it is the photograph's own pattern.
    """
    scale = min(1.0, params.look_height / height)
    least = params.least_side
    size = (max(least, round(crop.shape[1] * scale)), max(least, round(crop.shape[0] * scale)))
    unit = height * scale
    light, shape, others = (
        np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
        for values in (crop.mean(-1), body.astype(np.float32), taken.astype(np.float32))
    )
    solid = shape > 0.5
    seen = (others == 0) & ~grow(shape > params.edge, 1)
    seen &= grow(solid, max(2, round(params.far * unit)))
    near = seen & grow(solid, max(2, round(params.near_ring * unit)))
    far = seen & ~grow(solid, max(3, round(params.far_ring * unit)))
    if near.sum() < params.fewest or far.sum() < params.fewest:
        return None
    look = _Look(np.log(light + params.black), seen, max(3, round(params.window * unit)) | 1)
    steps = np.linspace(-params.furthest, params.furthest, params.steps).tolist()
    best = look.best(shape, ((x, y, params.blur) for x in steps for y in steps), unit)
    if best[0] < params.first_like * params.like:
        return None
    x, y, blur = best[1]
    fine = (0.0, -params.fine_step, params.fine_step)
    finer = ((x + i, y + j, blur * k) for i in fine for j in fine for k in params.fine_blurs)
    best = look.best(shape, finer, unit)
    mirrored = look.likeness(np.ascontiguousarray(shape[:, ::-1]), *best[1], unit)
    if best[0] < max(params.like, params.liker * max(mirrored, params.least_mirrored)):
        return None
    x, y, blur = best[1]
    strength = look.strength(shape, x, y, blur, unit, np.arange(*params.strengths))
    return Shadow(x, y, blur, strength) if strength > params.faintest else None


def cast(alpha: Floats, shadow: Shadow, height: float) -> Floats:
    """The alpha (h, w) 0…1 of the shadow that strokes of `alpha` cast; height: of the line in pixels."""
    return shadow.strength * _moved(alpha, shadow.x * height, shadow.y * height, shadow.blur * height)


def _moved(shape: Floats, x: float, y: float, blur: float) -> Floats:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(shape, move, (shape.shape[1], shape.shape[0]))
    return (cv2.GaussianBlur(moved, (0, 0), blur) if blur > LEAST_BLUR else moved).astype(np.float32)


@dataclass(frozen=True)
class _Look:
    """tone: (h, w) log lightness; seen: where it counts; window: what is wider than so many pixels is no shadow."""

    tone: Floats
    seen: Mask
    window: int

    def fine(self, values: Floats) -> Floats:
        """`values` where they count, less their surroundings' mean."""
        weight = self.seen.astype(np.float32)
        size = (self.window, self.window)
        mean = cv2.blur(values * weight, size) / np.maximum(cv2.blur(weight, size), 1e-3)
        return np.asarray((values - mean)[self.seen], np.float32)

    def likeness(self, shape: Floats, x: float, y: float, blur: float, unit: float, *, strength: float = 0.5) -> float:
        """Correlation of the picture's darkness with a shadow of `strength`; 0 where there is none to see."""
        dark = self.fine(np.log1p(-strength * _moved(shape, x * unit, y * unit, blur * unit)))
        seen = self.fine(self.tone)
        power = float(dark @ dark)
        if power < 1e-3:
            return 0.0
        return float(dark @ seen) / (power * max(float(seen @ seen), 1e-6)) ** 0.5

    def best(
        self, shape: Floats, tries: Iterable[tuple[float, float, float]], unit: float
    ) -> tuple[float, tuple[float, float, float]]:
        """The greatest likeness among `tries` (x, y, blur), and which one has it."""
        return max((self.likeness(shape, *attempt, unit), attempt) for attempt in tries)

    def strength(
        self, shape: Floats, x: float, y: float, blur: float, unit: float, strengths: NDArray[np.float64]
    ) -> float:
        """The one of `strengths` whose shadow is just as deep as the picture is dark."""
        moved = _moved(shape, x * unit, y * unit, blur * unit)
        seen = self.fine(self.tone)
        best = (np.inf, 0.0)
        for strength in strengths.tolist():
            miss = seen - self.fine(np.log1p(-strength * moved))
            best = min(best, (float(miss @ miss), strength))
        return best[1]
