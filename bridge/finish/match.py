"""A model's colours drift from the picture; what is seen tells by how much, and what is hidden is shifted alike."""

from collections.abc import Sequence

import cv2
import numpy as np

from bridge.finish.grid import Plate
from bridge.finish.images import Floats, blurred, each, fitted, floats, half, joined, smoothstep, square, towards
from bridge.pyramid import Level, pull, push, with_prior

FAINT = (0.02, 0.12)
"""Between these values of alpha a draft's own colours come to be believed."""
SURE = 0.97
"""A layer is seen alone where this share of the pixel, and of all around it, is its own."""
MOST = 0.2
"""The largest drift that is believed, in parts of the range: what is more is another thing, or a light above 1."""
ROUNDS = 2
"""How often all layers' drifts are read; each time what the others explained is taken off first."""
FAR_WEIGHT = 0.02
"""What colours two blurs away count against those one blur away, where a layer is faint."""
SMALLEST = 4
"""Pixels on the longer side at the top of the pyramid."""
LOOSE = 0.05
"""The weight of the level above where the drift is read from mixed pixels."""
STRICT = 0.01
"""The same where it is read from pixels in which the layer is seen alone."""
TOP_PRIOR = 1e-3
"""The weight of the whole layer's mean drift at the top of the pyramid."""
MIXED_FINEST = 4
"""Drift read from mixed pixels is averaged over at least two to the power of this pixels a side."""
ALONE_FINEST = 1
"""The same for pixels in which the layer is seen alone."""
ALONE_AROUND = 2
"""Working pixels around a pixel in which a layer must be seen alone, too, for its drift to be read there."""
NEAR = 0.03
"""Alpha from which something of a layer is there …"""
NEAR_AROUND = 1
"""… and pixels of half the resolution around it that count, too."""
HINT = 2e-4
"""Weight of mixed pixels against those where the layer is seen alone: they count where there are no others."""


def clean_colours(plate: Plate, radius: int) -> Plate:
    """The plate with the colours of clear and faint pixels taken from denser ones near by.

    Models leave noise where nothing is, and what is upscaled or unblended beside it would take it in.
    """
    alpha, colour, count = half(plate.alpha), half(plate.colour), plate.colour.shape[2]
    weight = alpha * alpha
    near = blurred(joined(colour * each(weight, count), weight), radius + 1)
    far = blurred(near, radius + 1)
    near += far * each(floats(FAR_WEIGHT / (far[..., -1] + 1e-6)), count + 1)
    near *= each(floats(1 / (near[..., -1] + 1e-6)), count + 1)
    cleaned = fitted(np.ascontiguousarray(near[..., :-1]), plate.colour.shape)
    return plate.coloured(towards(cleaned, plate.colour, smoothstep(plate.alpha, *FAINT)))


def match_colours(plates: Sequence[Plate], source: Floats) -> list[Plate]:
    """The plates, back to front, their colours shifted by slow fields so that they show the picture.

    source: (h, w, C), the picture on the same grid. Each layer's drift is read where it is seen alone, or, if it
    nowhere is (thin lines, small type), from how the mixture with what is below it differs; spread from there over
    the layer by a pyramid (push-pull: Gortler and others, The Lumigraph, 1996). Where a layer is seen alone it gets
    the picture's own colours.
    """
    seen = visible_shares(plates, source.shape[:2])
    drifts = _drifts(plates, seen, source)
    matched: list[Plate] = []
    for plate, share, drift in zip(plates, seen, drifts, strict=True):
        colour = plate.colour + fitted(drift, plate.alpha.shape)
        matched.append(plate.coloured(towards(colour, source[plate.window], smoothstep(share, SURE, 1.0))))
    return matched


def visible_shares(plates: Sequence[Plate], shape: tuple[int, ...]) -> list[Floats]:
    """For each plate: its share of the flattened pixel, (h, w) of its own window, 0–1."""
    through = np.ones(shape[:2], np.float32)
    shares: list[Floats] = []
    for plate in reversed(plates):
        here = through[plate.window]
        shares.append(here * plate.alpha)
        here -= shares[-1]
    return shares[::-1]


class _Half:
    """A plate at half resolution: share, its part of the flattened pixel; alone, where nothing else is seen; mixed,
    where something of it is or is close by. (h, w, C) or (h, w)."""

    def __init__(self, plate: Plate, share: Floats) -> None:
        self.colour, self.share, alpha = half(plate.colour), half(share), half(plate.alpha)
        height, width = alpha.shape
        top, left = plate.top // 2, plate.left // 2
        self.window = slice(top, top + height), slice(left, left + width)
        count = self.colour.shape[2]
        self.shares = each(self.share, count)
        free = np.divide(self.share, alpha, out=np.ones_like(alpha), where=alpha > 1e-3)
        inside = floats(cv2.erode(share, square(ALONE_AROUND), borderType=cv2.BORDER_REPLICATE))
        alone = (half(inside) > SURE).astype(np.float32)
        near = cv2.dilate(alpha, square(NEAR_AROUND)) > NEAR
        self.mixed = each(free * near, count)
        self.alone = each(free * alone, count)
        self.known = self.share * alone + HINT


def _drifts(plates: Sequence[Plate], seen: Sequence[Floats], source: Floats) -> list[Floats]:
    """Each plate's drift at half the grid's resolution, (h/2, w/2, C)."""
    halves = [_Half(plate, share) for plate, share in zip(plates, seen, strict=True)]
    small = half(source)
    residual = np.zeros_like(small)
    for plate in halves:
        residual[plate.window] += (small[plate.window] - plate.colour) * plate.shares
    np.clip(residual, -MOST, MOST, out=residual)
    drifts = [np.zeros_like(plate.colour) for plate in halves]
    for _ in range(ROUNDS):
        for plate, drift in zip(halves, drifts, strict=True):
            left = residual[plate.window]
            step = _spread(left, plate)
            drift += step
            left -= step * plate.shares
    return drifts


def _spread(residual: Floats, plate: _Half) -> Floats:
    """The drift that the residual (h, w, C) speaks of, smooth over the plate's window."""
    mixed = _smoothed(Level(residual * plate.mixed, plate.share), LOOSE, MIXED_FINEST)
    mixed *= HINT
    mixed += residual * plate.alone
    return _smoothed(Level(mixed, plate.known), STRICT, ALONE_FINEST)


def _smoothed(level: Level, prior: float, finest: int) -> Floats:
    """The level's mean over neighbourhoods that grow until they weigh more than `prior`, (h, w, C).

    None of them is smaller than 2^finest pixels a side.
    """
    *levels, top = pull(level, longest=SMALLEST)
    out = with_prior(TOP_PRIOR)(top, top.average())
    out = push(levels[min(finest, len(levels)) :], out, with_prior(prior))
    return fitted(out, level.weighted.shape)
