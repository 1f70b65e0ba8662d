"""Soft dark shadows that lettering casts on a photograph: found by their shape, as the ground is not known."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.matting import grow

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

LOOK_HEIGHT = 36  # a shadow is looked for at this height of line
LIKE = 0.25  # how well the picture's darkness must follow the shadow's shape (correlation)
LIKER = 1.6  # … and how much better than it follows the same shape put where no shadow can be
FURTHEST = 0.15  # a shadow's offset, in heights of the line


@dataclass(frozen=True)
class Shadow:
    """A black shadow: offset and blur (sigma) in heights of the line, strength 0…1."""

    x: float
    y: float
    blur: float
    strength: float


def find_shadow(crop: Floats, body: Mask, taken: Mask, height: float) -> Shadow | None:
    """The shadow that the strokes `body` (h, w) cast in `crop` (h, w, 3) float32 0…255, or None.

    height: of the line in pixels.
    A shadow multiplies its ground by 1 − strength × the strokes' blurred and moved shape. The logarithm of the
    picture's lightness, rid of what changes slowly, is correlated with that of such shapes; so it must be with the
    right one, and must not be with the mirrored one, else it is the photograph's own pattern.
    """
    scale = min(1.0, LOOK_HEIGHT / height)
    size = (max(8, round(crop.shape[1] * scale)), max(8, round(crop.shape[0] * scale)))
    unit = height * scale
    light = np.asarray(cv2.resize(crop.mean(-1), size, interpolation=cv2.INTER_AREA), np.float32)
    shape = np.asarray(cv2.resize(body.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    open_ = (cv2.resize(taken.astype(np.float32), size, interpolation=cv2.INTER_AREA) == 0) & ~grow(shape > 0.02, 1)
    open_ &= grow(shape > 0.5, max(2, round(0.7 * unit)))
    tone = np.log(light + 6)
    near = open_ & grow(shape > 0.5, max(2, round(0.15 * unit)))
    far = open_ & ~grow(shape > 0.5, max(3, round(0.4 * unit)))
    if near.sum() < 40 or far.sum() < 40:
        return None
    look = _Look(tone, open_, max(3, round(0.9 * unit)) | 1)
    steps = np.linspace(-FURTHEST, FURTHEST, 5).tolist()
    best = look.best(shape, ((x, y, 0.05) for x in steps for y in steps), unit)
    if best[0] < 0.7 * LIKE:
        return None
    x, y, blur = best[1]
    fine = (0.0, -0.0375, 0.0375)
    best = look.best(shape, ((x + i, y + j, blur * k) for i in fine for j in fine for k in (0.6, 1.0, 1.5)), unit)
    mirrored = max(look.likeness(np.ascontiguousarray(shape[:, ::-1]), *best[1], unit)[0], 0.05)
    if best[0] < max(LIKE, LIKER * mirrored):
        return None
    x, y, blur = best[1]
    strength = look.strength(shape, x, y, blur, unit)
    return Shadow(x, y, blur, strength) if strength > 0.12 else None


def cast(alpha: Floats, shadow: Shadow, height: float) -> Floats:
    """The alpha (h, w) 0…1 of the shadow that strokes of `alpha` cast; height: of the line in pixels."""
    return shadow.strength * _moved(alpha, shadow.x * height, shadow.y * height, shadow.blur * height)


def _moved(shape: Floats, x: float, y: float, blur: float) -> Floats:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(shape, move, (shape.shape[1], shape.shape[0]))
    return (cv2.GaussianBlur(moved, (0, 0), blur) if blur > 0.3 else moved).astype(np.float32)


@dataclass(frozen=True)
class _Look:
    """tone: (h, w) log lightness; open_: where it counts; window: what is wider than so many pixels is no shadow."""

    tone: Floats
    open_: Mask
    window: int

    def fine(self, values: Floats) -> Floats:
        """`values` where they count, less their surroundings' mean."""
        weight = self.open_.astype(np.float32)
        size = (self.window, self.window)
        mean = cv2.blur(values * weight, size) / np.maximum(cv2.blur(weight, size), 1e-3)
        return np.asarray((values - mean)[self.open_], np.float32)

    def likeness(self, shape: Floats, x: float, y: float, blur: float, unit: float) -> tuple[float, float]:
        """Correlation of the picture's darkness with a shadow of half strength, and its slope on that."""
        dark = self.fine(np.log1p(-0.5 * _moved(shape, x * unit, y * unit, blur * unit)))
        seen = self.fine(self.tone)
        power = float(dark @ dark)
        if power < 1e-3:
            return 0.0, 0.0
        together = float(dark @ seen)
        return together / (power * max(float(seen @ seen), 1e-6)) ** 0.5, together / power

    def best(
        self, shape: Floats, tries: Iterable[tuple[float, float, float]], unit: float
    ) -> tuple[float, tuple[float, float, float]]:
        return max((self.likeness(shape, *attempt, unit)[0], attempt) for attempt in tries)

    def strength(self, shape: Floats, x: float, y: float, blur: float, unit: float) -> float:
        """The strength whose shadow is just as deep as the picture is dark."""
        moved = _moved(shape, x * unit, y * unit, blur * unit)
        seen = self.fine(self.tone)
        best = (np.inf, 0.0)
        for strength in np.arange(0.1, 0.96, 0.05):
            miss = seen - self.fine(np.log1p(-strength * moved))
            best = min(best, (float(miss @ miss), float(strength)))
        return best[1]
