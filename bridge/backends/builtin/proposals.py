"""Shapes that could be objects, and how much each looks like one."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.matting import disc, grow
from bridge.backends.builtin.regions import Ground, fill_pinholes
from bridge.backends.builtin.saliency import salience

Mask = NDArray[np.bool_]
Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]

STANDS_OUT = 0.5
SQUARE = np.ones((3, 3), np.uint8)


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
    """(height, width) float32: the strongest contrast in levels between a pixel of `rgb` and its eight neighbours'
    mean."""
    values = rgb.astype(np.float32)
    contrast = np.abs(values - cv2.blur(values, (3, 3))).max(-1)
    block = max(1, round(rgb.shape[1] / width))
    return cv2.resize(cv2.dilate(contrast, np.ones((block, block), np.uint8)), (width, height)).astype(np.float32)


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
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA] / mask.size
    kept = [i for i in range(1, count) if least <= area[i] <= most]
    return [labels == i for i in sorted(kept, key=lambda i: -area[i])]


def enclosed(crisp: Floats, threshold: float, gap: int) -> Mask:
    """What crisp outlines enclose: contrasts over `threshold` joined over gaps of 2·`gap` pixels, with what lies
    inside them."""
    lines = cv2.morphologyEx((crisp > threshold).astype(np.uint8), cv2.MORPH_CLOSE, disc(gap)) > 0
    whole = fill_pinholes(lines, lines.size)
    return cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_OPEN, disc(2)) > 0


def propose(evidence: Evidence, *, least: float = 0.0015, most: float = 0.6) -> list[Mask]:
    """Shapes from every source; many overlap, and few are objects."""
    both = np.maximum(evidence.salience, evidence.closer)
    found = [
        shape
        for level in (evidence.salience, evidence.closer, both)
        for shape in pieces(level > STANDS_OUT, least, most)
    ]
    for threshold, gap in ((12, 2), (20, 2), (30, 3)):
        found += pieces(enclosed(evidence.crispness, threshold, gap), least, most)
    return found + pieces(evidence.ground.rest, least, most)


def score(shape: Mask, evidence: Evidence) -> float:
    """How much `shape` looks like an object, 0…1 and a little more.

    Its whole outline lies on edges crisper than the picture's usual, the band around it is calmer, it stands out and
    what surrounds it does not, it is not small, and it is not cut off along much of the canvas's edge.
    """
    outline = outline_of(shape)
    if outline.sum() < 12:
        return 0.0
    blunt = max(6.0, float(np.median(evidence.crispness)))
    sharp = max(24.0, 4 * blunt)

    def edges(levels: Floats) -> float:
        return float(np.clip((levels - blunt) / (sharp - blunt), 0, 1).mean()) if levels.size else 0.0

    on_edges = edges(np.asarray(cv2.dilate(evidence.crispness, SQUARE), np.float32)[outline])
    around = grow(shape, 9) & ~grow(shape, 4)
    unrest = edges(evidence.crispness[around])
    surroundings = float(np.maximum(evidence.salience, evidence.closer)[around].mean()) if around.any() else 0.0
    inside = max(float(evidence.salience[shape].mean()), float(evidence.closer[shape].mean()))
    cut_off = (shape[0].sum() + shape[-1].sum() + shape[:, 0].sum() + shape[:, -1].sum()) / np.sqrt(shape.sum())
    size = 1 + 0.15 * float(np.clip(np.log2(shape.mean() / 0.02), -3, 2))
    look = on_edges * (1 - 0.3 * unrest) * (0.35 + 0.65 * inside) * (1 - 0.5 * surroundings)
    return look * size * (1 - 0.5 * float(np.clip((cut_off - 0.8) / 1.2, 0, 1)))


def outline_of(shape: Mask) -> Mask:
    """The pixels on both sides of the shape's edge, away from the canvas's."""
    bits = shape.astype(np.uint8)
    edge = cv2.dilate(bits, SQUARE) != cv2.erode(bits, SQUARE)
    edge[:2] = edge[-2:] = edge[:, :2] = edge[:, -2:] = False
    return edge
