"""Which things in a picture are objects.

In a drawing: what its ground does not explain. In a photograph: the shapes that look most like objects.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from bridge.backends.builtin.ground import find_ground
from bridge.backends.builtin.masks import SQUARE, Floats, Mask, disc, grow
from bridge.backends.builtin.necks import part_at_necks
from bridge.backends.builtin.proposals import (
    Evidence,
    Rgb,
    crispness,
    outline_of,
    pieces,
    propose,
    salience_in_parts,
    score,
)
from bridge.backends.builtin.saliency import salience


@dataclass(frozen=True)
class ObjectParams:
    """What counts as an object, and as a drawing."""

    working_side: int = 448
    """Objects are looked for on a copy of at most this many pixels a side."""
    detail_side: int = 1200
    """Edges are judged at this many: those sharp to the eye are soft from pixel to pixel in a larger picture."""
    least_side: int = 8
    """Such copies have at least this many."""
    least: float = 0.002
    """Of the picture: what is smaller stays in the background."""
    most: float = 0.7
    """Of the picture: what is larger is no object."""
    patterned: float = 0.35
    """Where the salience of the canvas's edge is more than this on the mean, salience tells nothing apart."""
    drawn_ground: float = 0.4
    """Of the picture: the least that a drawing's ground covers …"""
    calm: float = 1.6
    """… and levels between neighbours that it stays below …"""
    calm_share: float = 0.7
    """… in this share of it."""
    drawn_least: float = 0.001
    """Of the picture: the smallest pieces whose outlines are looked at."""
    ring: tuple[int, int] = (4, 8)
    """Pixels from and to which a piece's surroundings are looked at."""
    sharp: float = 4.0
    """An outline is sharp where it is this many levels, and twice its surroundings' contrast, strong."""
    sharp_share: float = 0.8
    """The share of a drawing's outlines, by the pieces' pixels, that are sharp."""
    looks_like_one: float = 0.34
    """The least score of an object."""
    overlap: float = 0.25
    """The share of a shape that others may have taken …"""
    covered: float = 0.5
    """… and the share that it may take of another."""


PARAMS = ObjectParams()


@dataclass(frozen=True)
class Looked:
    """shapes: (h, w) bool each, at working size, the best first; drawn: the ground is drawn, so that the shapes are
    its exact rest."""

    shapes: list[Mask]
    drawn: bool


def find_objects(rgb: Rgb, *, at_most: int, checkpoint: Callable[[], None], params: ObjectParams = PARAMS) -> Looked:
    """The objects of `rgb` (H, W, 3) uint8, at most `at_most`, none over another."""
    image = working_copy(rgb, params)
    height, width = image.shape[:2]
    whole = trusted(salience(image), params)
    checkpoint()
    ground = find_ground(image, whole)
    crisp = crispness(_reduced(rgb, params.detail_side, params.least_side), width, height)
    checkpoint()
    if _is_drawn(ground.mask, ground.rest, crisp, params):
        found = pieces(ground.rest, params.least, params.most)
        shapes = [part for piece in found for part in part_at_necks(piece, image)]
        return Looked(sorted(shapes, key=lambda shape: -int(shape.sum()))[:at_most], True)
    evidence = Evidence(whole, salience_in_parts(image, checkpoint), crisp, ground)
    return Looked(_best(propose(evidence), evidence, at_most, checkpoint, params), False)


def working_copy(rgb: Rgb, params: ObjectParams = PARAMS) -> Rgb:
    """`rgb` (H, W, 3) at the size at which objects are looked for."""
    return _reduced(rgb, params.working_side, params.least_side)


def _reduced(rgb: Rgb, side: int, least: int) -> Rgb:
    """`rgb` with at most `side` pixels on its longer side and at least `least` on each."""
    scale = side / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(least, round(rgb.shape[1] * scale)), max(least, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def trusted(level: Floats, params: ObjectParams = PARAMS) -> Floats:
    """The salience `level` (h, w) where it tells things apart; zeros where even the canvas's edge is said to stand out.

    Patterns do that.
    """
    edge = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    return level if edge.mean() < params.patterned else np.zeros_like(level)


def _is_drawn(ground: Mask, rest: Mask, crisp: Floats, params: ObjectParams) -> bool:
    """Whether the ground is even but for what lies on it, and that has sharp outlines: a drawing, not a photograph."""
    inner = cv2.erode(ground.astype(np.uint8), disc(2)) > 0
    if ground.mean() < params.drawn_ground or not inner.any():
        return False
    if (crisp[inner] < params.calm).mean() < params.calm_share:
        return False
    nearby = cv2.dilate(crisp, SQUARE)
    total = sharp = 0.0
    near, far = params.ring
    for piece in pieces(rest, params.drawn_least, 1.0):
        around = grow(piece, far) & ~grow(piece, near)
        outline = outline_of(piece)
        if around.any() and outline.any():
            strong = nearby[outline] > params.sharp + 2 * np.median(crisp[around])
            sharp += piece.sum() * float(strong.mean())
        total += piece.sum()
    return total == 0 or sharp / total > params.sharp_share


def _best(
    shapes: list[Mask], evidence: Evidence, at_most: int, checkpoint: Callable[[], None], params: ObjectParams
) -> list[Mask]:
    """The shapes that look most like objects, none much over another."""
    scores: list[float] = []
    for shape in shapes:
        checkpoint()
        scores.append(score(shape, evidence))
    chosen: list[Mask] = []
    taken = np.zeros(evidence.salience.shape, bool)
    for i in sorted(range(len(shapes)), key=lambda i: (-scores[i], i)):
        shape = shapes[i]
        if scores[i] < params.looks_like_one or len(chosen) >= at_most:
            break
        if (shape & taken).sum() > params.overlap * shape.sum():
            continue
        if any((shape & other).sum() > params.covered * other.sum() for other in chosen):
            continue
        chosen.append(shape & ~taken)
        taken |= shape
    return chosen
