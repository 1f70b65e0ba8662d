"""Shapes that could be objects, and how much each looks like one."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.ground import Ground
from bridge.backends.builtin.masks import SQUARE, Floats, Mask, components, disc, fill_pinholes, grow
from bridge.backends.builtin.saliency import salience

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class ProposalParams:
    """Where shapes are taken from."""

    stands_out: float = 0.5
    """Salience from which a pixel stands out."""
    outlines: tuple[tuple[float, int], ...] = ((12, 2), (20, 2), (30, 3))
    """Contrasts in levels from which outlines are taken, and half the gaps in pixels over which they are joined."""
    least: float = 0.0015
    """Of the picture: the smallest shape …"""
    most: float = 0.6
    """… and the largest."""


@dataclass(frozen=True)
class ScoreParams:
    """How much each sign of an object counts."""

    least_outline: int = 12
    """Pixels; a shape with a shorter outline is no object."""
    blunt: float = 6.0
    """Levels of contrast, or the picture's median where that is more: an edge of this counts nothing …"""
    sharp: float = 24.0
    """… and one of this, or of four times the median, counts fully."""
    sharp_medians: float = 4.0
    """Those four times."""
    ring: tuple[int, int] = (4, 9)
    """Pixels from and to which a shape's surroundings are looked at."""
    unrest: float = 0.3
    """What is taken off for edges in the surroundings."""
    unseen: float = 0.35
    """What a shape without any salience keeps …"""
    standing_out: float = 0.65
    """… and what full salience adds to it."""
    surroundings: float = 0.5
    """What is taken off for full salience of the surroundings."""
    usual_size: float = 0.02
    """Of the picture: a shape of this size is neither favoured nor not."""
    size: float = 0.15
    """What each doubling of the size adds …"""
    size_range: tuple[float, float] = (-3.0, 2.0)
    """… from and to so many doublings."""
    cut_off: float = 0.8
    """Pixels on the canvas's edge, for each on the side of a square of the shape's size, that cost nothing …"""
    cut_off_range: float = 1.2
    """… and what beyond them costs the most …"""
    cut_off_cost: float = 0.5
    """… which is this."""


PROPOSALS = ProposalParams()
SCORES = ScoreParams()


@dataclass(frozen=True)
class Evidence:
    """What is known of a picture at working size, each (h, w) float32.

    salience, closer: 0…1, what stands out in the whole and in parts of it. crispness: levels 0…255, how sharp the full
    picture is there. ground: its ground.
    """

    salience: Floats
    closer: Floats
    crispness: Floats
    ground: Ground


def crispness(rgb: Rgb, width: int, height: int) -> Floats:
    """(height, width) float32: the strongest contrast in levels between a pixel of `rgb` and the mean of the 3×3 pixels
    around it."""
    values = rgb.astype(np.float32)
    contrast = np.abs(values - cv2.blur(values, SQUARE.shape)).max(-1)
    block = max(1, round(rgb.shape[1] / width))
    strongest = cv2.dilate(contrast, np.ones((block, block), np.uint8))
    return cv2.resize(strongest, (width, height)).astype(np.float32)


def salience_in_parts(image: Rgb, checkpoint: Callable[[], None], *, part: float = 0.6) -> Floats:
    """The highest salience (h, w) among four overlapping parts, each `part` of the picture wide and high."""
    height, width = image.shape[:2]
    high, wide = max(1, int(height * part)), max(1, int(width * part))
    out = np.zeros((height, width), np.float32)
    for top in (0, height - high):
        for left in (0, width - wide):
            checkpoint()
            area = np.s_[top : top + high, left : left + wide]
            out[area] = np.maximum(out[area], salience(np.ascontiguousarray(image[area])))
    return out


def pieces(mask: Mask, least: float, most: float) -> list[Mask]:
    """The connected pieces of `mask` that cover between `least` and `most` of it, the largest first."""
    found = components(mask)
    area = found.area / mask.size
    kept = [i for i in range(1, found.count) if least <= area[i] <= most]
    return [found.labels == i for i in sorted(kept, key=lambda i: -area[i])]


def enclosed(crisp: Floats, threshold: float, gap: int) -> Mask:
    """What crisp outlines enclose: contrasts over `threshold` joined over gaps of 2·`gap` pixels, with what lies
    inside them."""
    lines = cv2.morphologyEx((crisp > threshold).astype(np.uint8), cv2.MORPH_CLOSE, disc(gap)) > 0
    whole = fill_pinholes(lines, lines.size)
    return cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_OPEN, disc(2)) > 0


def propose(evidence: Evidence, params: ProposalParams = PROPOSALS) -> list[Mask]:
    """Shapes from every source; many overlap, and few are objects."""
    both = np.maximum(evidence.salience, evidence.closer)
    found = [
        shape
        for level in (evidence.salience, evidence.closer, both)
        for shape in pieces(level > params.stands_out, params.least, params.most)
    ]
    for threshold, gap in params.outlines:
        found += pieces(enclosed(evidence.crispness, threshold, gap), params.least, params.most)
    return found + pieces(evidence.ground.rest, params.least, params.most)


def score(shape: Mask, evidence: Evidence, params: ScoreParams = SCORES) -> float:
    """How much `shape` looks like an object, 0…1 and a little more.

    Its whole outline lies on edges crisper than the picture's usual, the band around it is calmer, it stands out and
    what surrounds it does not, it is not small, and it is not cut off along much of the canvas's edge.
    """
    outline = outline_of(shape)
    if outline.sum() < params.least_outline:
        return 0.0
    blunt = max(params.blunt, float(np.median(evidence.crispness)))
    sharp = max(params.sharp, params.sharp_medians * blunt)

    def edges(levels: Floats) -> float:
        return float(np.clip((levels - blunt) / (sharp - blunt), 0, 1).mean()) if levels.size else 0.0

    on_edges = edges(np.asarray(cv2.dilate(evidence.crispness, SQUARE), np.float32)[outline])
    near, far = params.ring
    around = grow(shape, far) & ~grow(shape, near)
    unrest = edges(evidence.crispness[around])
    surroundings = float(np.maximum(evidence.salience, evidence.closer)[around].mean()) if around.any() else 0.0
    inside = max(float(evidence.salience[shape].mean()), float(evidence.closer[shape].mean()))
    cut_off = (shape[0].sum() + shape[-1].sum() + shape[:, 0].sum() + shape[:, -1].sum()) / np.sqrt(shape.sum())
    size = 1 + params.size * float(np.clip(np.log2(shape.mean() / params.usual_size), *params.size_range))
    look = on_edges * (1 - params.unrest * unrest) * (params.unseen + params.standing_out * inside)
    look *= 1 - params.surroundings * surroundings
    cost = float(np.clip((cut_off - params.cut_off) / params.cut_off_range, 0, 1))
    return look * size * (1 - params.cut_off_cost * cost)


def outline_of(shape: Mask) -> Mask:
    """The pixels on both sides of the shape's edge, away from the canvas's."""
    bits = shape.astype(np.uint8)
    edge = cv2.dilate(bits, SQUARE) != cv2.erode(bits, SQUARE)
    edge[:2] = edge[-2:] = edge[:, :2] = edge[:, -2:] = False
    return edge
