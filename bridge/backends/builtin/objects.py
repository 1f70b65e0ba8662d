"""Which things in a picture are objects: by what its ground leaves over where it is drawn, by the best shapes
elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.matting import disc
from bridge.backends.builtin.necks import part_at_necks
from bridge.backends.builtin.proposals import (
    Evidence,
    Mask,
    Rgb,
    crispness,
    outline_of,
    pieces,
    propose,
    salience_in_parts,
    score,
)
from bridge.backends.builtin.regions import find_ground
from bridge.backends.builtin.saliency import salience

WORKING_SIDE = 448
DETAIL_SIDE = 1200  # edges that are sharp to the eye are soft from pixel to pixel in a larger picture
LEAST = 0.002  # of the picture: what is smaller stays in the background
MOST = 0.7
LOOKS_LIKE_ONE = 0.34


@dataclass(frozen=True)
class Looked:
    """shapes: (h, w) bool each, at working size, the best first; drawn: the ground is drawn, so that the shapes are
    its exact rest."""

    shapes: list[Mask]
    drawn: bool


def find_objects(rgb: Rgb, *, at_most: int, checkpoint: Callable[[], None]) -> Looked:
    """The objects of `rgb` (H, W, 3) uint8, at most `at_most`, none over another."""
    image = working_copy(rgb)
    height, width = image.shape[:2]
    whole = trusted(salience(image))
    checkpoint()
    ground = find_ground(image, whole)
    crisp = crispness(_at_most(rgb, DETAIL_SIDE), width, height)
    checkpoint()
    if _is_drawn(ground.mask, ground.rest, crisp):
        shapes = [part for piece in pieces(ground.rest, LEAST, MOST) for part in part_at_necks(piece, image)]
        return Looked(sorted(shapes, key=lambda shape: -int(shape.sum()))[:at_most], True)
    evidence = Evidence(whole, salience_in_parts(image, checkpoint), crisp, ground)
    return Looked(_best(propose(evidence), evidence, at_most, checkpoint), False)


def working_copy(rgb: Rgb) -> Rgb:
    """`rgb` at most WORKING_SIDE pixels long."""
    return _at_most(rgb, WORKING_SIDE)


def _at_most(rgb: Rgb, side: int) -> Rgb:
    scale = side / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(8, round(rgb.shape[1] * scale)), max(8, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def trusted(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """`level` where it tells things apart; nothing where even the canvas's edge is said to stand out (patterns do
    that)."""
    edge = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    return level if edge.mean() < 0.35 else np.zeros_like(level)


def _is_drawn(ground: Mask, rest: Mask, crisp: NDArray[np.float32]) -> bool:
    """Whether the ground is even but for what lies on it, and that has sharp outlines: a drawing, not a photograph."""
    inner = cv2.erode(ground.astype(np.uint8), disc(2)) > 0
    if ground.mean() < 0.4 or not inner.any() or (crisp[inner] < 1.6).mean() < 0.7:
        return False
    nearby = cv2.dilate(crisp, np.ones((3, 3), np.uint8))
    total = sharp = 0.0
    for piece in pieces(rest, 0.001, 1.0):
        bits = piece.astype(np.uint8)
        around = (cv2.dilate(bits, disc(8)) != cv2.dilate(bits, disc(4))) & True
        outline = outline_of(piece)
        if around.any() and outline.any():
            sharp += piece.sum() * float((nearby[outline] > 4 + 2 * np.median(crisp[around])).mean())
        total += piece.sum()
    return total == 0 or sharp / total > 0.8


def _best(shapes: list[Mask], evidence: Evidence, at_most: int, checkpoint: Callable[[], None]) -> list[Mask]:
    """The shapes that look most like objects, none much over another."""
    scores: list[float] = []
    for shape in shapes:
        checkpoint()
        scores.append(score(shape, evidence))
    chosen: list[Mask] = []
    taken = np.zeros(evidence.salience.shape, bool)
    for i in sorted(range(len(shapes)), key=lambda i: (-scores[i], i)):
        shape = shapes[i]
        if scores[i] < LOOKS_LIKE_ONE or len(chosen) >= at_most:
            break
        if (shape & taken).sum() > 0.25 * shape.sum() or any(
            (shape & other).sum() > 0.5 * other.sum() for other in chosen
        ):
            continue
        chosen.append(shape & ~taken)
        taken |= shape
    return chosen
