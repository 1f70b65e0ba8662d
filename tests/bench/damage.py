"""True stacks damaged as image models damage them, so that what the finish mends can be measured against the truth.

A draft is the truth at one megapixel: blurred, recoloured (a shift of each layer's own, and a slow wave over it),
noised, its opaque pixels at 251, with noise where nothing is; before it a frame with the whole composite, among it a
blank plate, and two of its layers swapped.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Layer, Stack

U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]
MEGAPIXEL = 1_000_000
SEEN = 32


@dataclass(frozen=True)
class Draft:
    """A damaged stack. true: for each of its layers the number of the true one; −1 the composite, −2 the blank."""

    stack: Stack
    true: list[int]


def damage(
    layers: list[U8],
    seed: int,
    *,
    pixels: int = MEGAPIXEL,
    blur: float = 1.0,
    recolour: float = 8.0,
    noise: float = 2.0,
) -> Draft:
    """`layers` (H, W, 4) uint8, back to front, as a model might give them.

    blur: standard deviation in the draft's pixels; recolour and noise: in levels of 255.
    """
    rng = np.random.default_rng(seed)
    height, width = layers[0].shape[:2]
    scale = min(1.0, (pixels / (width * height)) ** 0.5)
    size = (round(width * scale), round(height * scale))
    drafts = [_damaged(layer, size, rng, blur, recolour, noise) for layer in layers]
    true = list(range(len(drafts)))
    if len(drafts) > 1:
        one, other = rng.choice(len(drafts), 2, replace=False)
        drafts[one], drafts[other] = drafts[other], drafts[one]
        true[one], true[other] = true[other], true[one]
    place = int(rng.integers(1, len(drafts) + 1))
    drafts.insert(place, _blank(size, rng))
    true.insert(place, -2)
    drafts.insert(0, _composite(layers, size, rng, blur, recolour, noise))
    true.insert(0, -1)
    return Draft(Stack(tuple(Layer("", draft) for draft in drafts), *size), true)


def _damaged(layer: U8, size: tuple[int, int], rng: np.random.Generator, blur: float, shift: float, noise: float) -> U8:
    alpha = layer[..., 3].astype(np.float32) / 255
    premultiplied = np.dstack([layer[..., :3] * alpha[..., None], alpha])
    small = cv2.GaussianBlur(cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA), (0, 0), blur)
    share = small[..., 3]
    colour = small[..., :3] / np.maximum(share, 1e-4)[..., None]
    noisy = rng.normal(0, noise, colour.shape)
    colour = colour * rng.uniform(0.97, 1.03, 3) + rng.uniform(-shift, shift, 3) + _wave(size, rng, shift / 2) + noisy
    # Where nothing is, models leave whatever they like.
    colour = np.where(share[..., None] > 2 / 255, colour, rng.integers(0, 256, colour.shape))
    shown = share * 251 + rng.normal(0, 1.0, share.shape)
    shown = np.where(share >= 1 - 1e-4, 251 + rng.integers(0, 4, share.shape), shown)
    return np.dstack([colour, shown]).clip(0, 255).round().astype(np.uint8)


def _wave(size: tuple[int, int], rng: np.random.Generator, height: float) -> Floats:
    """A slow wave of colour over the whole layer, as models' drifts are."""
    knots = rng.uniform(-height, height, (4, 5, 3)).astype(np.float32)
    return cv2.resize(knots, size, interpolation=cv2.INTER_CUBIC)


def _blank(size: tuple[int, int], rng: np.random.Generator) -> U8:
    """A plate on which nothing is, full of noise that cannot be seen."""
    plate = rng.integers(0, 256, (size[1], size[0], 4), np.uint8)
    plate[..., 3] = rng.integers(0, 12, plate.shape[:2])
    return plate


def _composite(
    layers: list[U8], size: tuple[int, int], rng: np.random.Generator, blur: float, shift: float, noise: float
) -> U8:
    flat = layers[0][..., :3].astype(np.float32)
    for layer in layers[1:]:
        flat += (layer[..., :3] - flat) * (layer[..., 3:].astype(np.float32) / 255)
    opaque = np.dstack([flat.round(), np.full(flat.shape[:2], 255, np.float32)]).astype(np.uint8)
    return _damaged(opaque, size, rng, blur, shift / 2, noise)


def soft_iou(one: U8, other: U8) -> float:
    """Σ min(α) / Σ max(α) of two alphas (H, W) uint8; 1 where both are empty."""
    most = int(np.maximum(one, other).sum(dtype=np.int64))
    return 1.0 if most == 0 else int(np.minimum(one, other).sum(dtype=np.int64)) / most
