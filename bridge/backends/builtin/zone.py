"""A line of text in its surroundings: where its strokes can be, and how well given strokes read."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import SQUARE, Floats, Mask, components, shrink
from bridge.reading import READ_HEIGHT, Quad, score_reading, straighten


@dataclass(frozen=True)
class ZoneParams:
    """What strokes look like. Lengths are in heights of the line unless in pixels; shares are 0…1."""

    heart: float = 0.24
    """By how much the box is smaller without its rim, both sides together."""
    fewest_around: int = 50
    """Pixels; where less is known around the line, all outside its box is taken for its ground."""
    outside: float = 0.1
    """The share of a connected part that may lie beyond the strokes' reach: more is a shape behind them."""
    inside: float = 0.5
    """The share of it that lies in the box."""
    long: float = 0.6
    """A longer part is no accent and no comma …"""
    long_in_heart: float = 0.4
    """… and this share of it must lie in the box without its rim: else it is the rim of some shape."""
    least_fill: float = 0.03
    """The share of the box that type fills: less is crumbs …"""
    most_fill: float = 0.75
    """… and more is a plate."""
    rim: float = 0.1
    """The box's rim …"""
    rim_fill: float = 0.6
    """… is filled less than the box by this factor."""
    edge_usual: float = 75.0
    """The percentile of the picture's contrast along the strokes' outline that is the usual one …"""
    edge_faint: float = 0.3
    """… and the share of that below which there is hardly an edge."""
    edgeless_free: float = 0.1
    """The share of the outline that may be without an edge …"""
    edgeless_cost: float = 1.5
    """… and what each share beyond it takes off the strokes' worth."""
    print_softness: float = 0.6
    """Pixels (sigma); how soft the strokes are made before they are read."""


PARAMS = ZoneParams()


@dataclass(frozen=True)
class Zone:
    """A line and where to look for it.

    crop: (h, w, 3) float32 0…255; inside, reach, taken: (h, w), where the strokes' bodies are, how far they may reach,
    and what belongs to other lines; height: of the line in pixels; quad: its box; text: what it reads.
    """

    crop: Floats
    inside: Mask
    reach: Mask
    taken: Mask
    height: float
    quad: Quad
    text: str
    params: ZoneParams = PARAMS

    @cached_property
    def heart(self) -> Mask:
        """The box without its rim."""
        size = max(1, round(self.params.heart * self.height)) | 1
        return cv2.erode(self.inside.astype(np.uint8), np.ones((size, size), np.uint8)) > 0

    @cached_property
    def ring(self) -> Mask:
        """The ground around the line."""
        ring = ~self.reach & ~self.taken
        return ring if ring.sum() > self.params.fewest_around else ~self.inside & ~self.taken


@dataclass(frozen=True)
class Reading:
    """How well strokes read, 0…1; worth: the same, less what speaks against them."""

    reads: float
    worth: float


def judge(zone: Zone, body: Mask) -> Reading:
    """How well the strokes `body` (h, w) read, less what of their outline has no edge in the picture.

    The gaps between letters read as well as the letters, but where they end at the box nothing ends in the picture.
    """
    if not _fills_like_type(zone, body):
        return Reading(0.0, 0.0)
    params = zone.params
    reads = score_reading(_as_print(zone, body), zone.text)
    return Reading(reads, reads - params.edgeless_cost * max(0.0, _edgeless(zone, body) - params.edgeless_free))


def within(zone: Zone, mask: Mask) -> Mask:
    """The connected parts of `mask` (h, w) that are the line's."""
    params, found = zone.params, components(mask)
    area = np.maximum(found.area, 1)
    beyond, inside, heart = (
        np.bincount(found.labels[where], minlength=found.count) for where in (~zone.reach, zone.inside, zone.heart)
    )
    keep = (beyond <= params.outside * area) & (inside > params.inside * area)
    long = np.maximum(found.width, found.height) > params.long * zone.height
    keep &= (heart > params.long_in_heart * area) | ~long
    keep[0] = False
    return keep[found.labels] & zone.reach


def _edgeless(zone: Zone, body: Mask) -> float:
    """The share of the outline of `body` where the picture has hardly an edge."""
    inner = body & ~shrink(body, 1)
    if not inner.any():
        return 1.0
    steep = cv2.morphologyEx(zone.crop, cv2.MORPH_GRADIENT, SQUARE).max(-1)[inner]
    return float((steep < zone.params.edge_faint * np.percentile(steep, zone.params.edge_usual)).mean())


def _fills_like_type(zone: Zone, body: Mask) -> bool:
    """Whether the strokes fill their box as type does: neither crumbs nor a plate, and hardly at the box's rim."""
    params, inside = zone.params, zone.inside
    share = body.sum() / max(1, inside.sum())
    if not params.least_fill < share < params.most_fill:
        return False
    rim = inside & ~shrink(inside, max(1, round(params.rim * zone.height)))
    return bool(not rim.any() or body[rim].mean() < params.rim_fill * share)


def _as_print(zone: Zone, body: Mask) -> NDArray[np.uint8]:
    """The bare strokes in black on white, upright, as the recogniser reads best."""
    soft = cv2.GaussianBlur(body.astype(np.float32), (0, 0), zone.params.print_softness)
    ink = straighten(soft, zone.quad, READ_HEIGHT)
    return np.repeat(np.rint(255 * (1 - ink.clip(0, 1)))[..., None], 3, axis=-1).astype(np.uint8)
