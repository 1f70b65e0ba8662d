"""Scenes whose layers are known, composed from clip art, photographs, drawn grounds and words.

    for scene in scenes(seed=1):
        scene.picture, scene.layers

Seeds that differ modulo four share no clip art: tune on some, report on others.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench import grounds, lettering, sources
from tests.bench.placing import Canvas, new_canvas, place_object, place_text

MEGAPIXEL = 1_000_000


@dataclass(frozen=True)
class Scene:
    """picture: (H, W, 3) uint8; layers: (H, W, 4) uint8 straight alpha, back to front, the first opaque.

    kind: poster | cartoon | photograph; kinds: background | object | text, one a layer.
    """

    name: str
    kind: str
    picture: NDArray[np.uint8]
    layers: list[NDArray[np.uint8]]
    kinds: list[str]


def _poster(rng: random.Random, width: int, height: int, seed: int, number: int) -> Canvas:
    kind = grounds.POSTER_GROUNDS[(number + rng.randint(0, 1)) % len(grounds.POSTER_GROUNDS)]
    canvas = new_canvas(rng, kind(rng, width, height))
    title_below = rng.random() < 0.25
    area = (0.03, 0.05, 0.97, 0.6) if title_below else (0.03, 0.27, 0.97, 0.8)
    count = rng.choice((1, 2, 2, 3))
    for _ in range(count):
        place_object(canvas, area, seed, rng.uniform(0.42, 0.6) if count == 1 else rng.uniform(0.22, 0.4), "free")
    over = 0.3 if rng.random() < 0.25 else 0.0
    end = place_text(
        canvas, lettering.phrase(rng, "title"), rng.uniform(0.06, 0.11), 0.66 if title_below else 0.05, over=over
    )
    if rng.random() < 0.7:
        end = place_text(canvas, lettering.phrase(rng, "line"), rng.uniform(0.03, 0.05), end + 0.03)
    place_text(canvas, lettering.phrase(rng, "line"), rng.uniform(0.03, 0.05), 0.85)
    if rng.random() < 0.7:
        place_text(canvas, lettering.phrase(rng, "small"), rng.uniform(0.016, 0.026), 0.93)
    return canvas


def _cartoon(rng: random.Random, width: int, height: int, seed: int, number: int) -> Canvas:
    canvas = new_canvas(rng, grounds.landscape(rng, width, height))
    manners = (
        ("free", "free", "free"),
        ("free", "touching", "free"),
        ("edge", "free", "black"),
        ("free", "black", "free", "edge"),
        ("free", "touching", "edge"),
        ("edge", "black", "touching"),
    )
    for manner in manners[number % len(manners)]:
        place_object(canvas, (0.02, 0.12, 0.98, 0.98), seed, rng.uniform(0.25, 0.5), manner)
    if rng.random() < 0.35:
        place_text(canvas, lettering.phrase(rng, "title"), rng.uniform(0.05, 0.09), 0.05)
    return canvas


def _captioned_photograph(rng: random.Random, width: int, height: int, seed: int, number: int) -> Canvas:
    canvas = new_canvas(
        rng, sources.photograph(rng, width, height, seed=seed, number=number).astype(np.float32) / np.float32(255)
    )
    for _ in range(1 + number % 3):
        place_object(
            canvas, (0.05, 0.15, 0.95, 0.95), seed, rng.uniform(0.25, 0.5), "edge" if rng.random() < 0.2 else "free"
        )
    place_text(canvas, lettering.phrase(rng, "title"), rng.uniform(0.05, 0.1), rng.choice((0.05, 0.8)))
    if rng.random() < 0.6:
        place_text(
            canvas,
            lettering.phrase(rng, rng.choice(("line", "small"))),
            rng.uniform(0.022, 0.045),
            rng.choice((0.2, 0.92)),
        )
    return canvas


_KINDS: dict[str, Callable[[random.Random, int, int, int, int], Canvas]] = {
    "poster": _poster,
    "cartoon": _cartoon,
    "photograph": _captioned_photograph,
}


def _straight(canvas: Canvas) -> list[NDArray[np.uint8]]:
    width, height = canvas.size
    back = np.dstack([canvas.ground, np.ones((height, width), np.float32)])
    layers = [np.round(back * 255).astype(np.uint8)]
    for piece, x, y, _ in canvas.pieces:
        alpha = np.round(piece[..., 3] * 255)
        rgb = np.where(alpha[..., None] > 0, piece[..., :3] / np.maximum(piece[..., 3:], 1e-6), 0)
        layer = np.zeros((height, width, 4), np.uint8)
        layer[y : y + piece.shape[0], x : x + piece.shape[1]] = np.round(np.dstack([np.clip(rgb, 0, 1) * 255, alpha]))
        layers.append(layer)
    return layers


def flatten(layers: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(H, W, 3): the layers put over each other, rounded once."""
    out = layers[0][..., :3].astype(np.float32)
    for layer in layers[1:]:
        alpha = layer[..., 3:].astype(np.float32) / 255
        out += (layer[..., :3] - out) * alpha
    return np.round(out).astype(np.uint8)


def compose(kind: str, number: int, *, seed: int, size: tuple[int, int] | float = 1.0) -> Scene:
    """One scene. size: (width, height), or megapixels, then in a usual shape that the seed chooses."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    if isinstance(size, tuple):
        width, height = size
    else:
        ratio = rng.choice((0.707, 0.8) if kind == "poster" else (1.33, 1.5, 1.0))
        width, height = (round((size * MEGAPIXEL) ** 0.5 * r) for r in (ratio**0.5, ratio**-0.5))
    canvas = _KINDS[kind](rng, width, height, seed, number)
    if not canvas.pieces:  # nothing found its place: very rare; another roll of the same dice
        return compose(kind, number + 100, seed=seed, size=size)
    layers = _straight(canvas)
    kinds = ["background"] + [piece[3] for piece in canvas.pieces]
    return Scene(f"{kind}-{number}", kind, flatten(layers), layers, kinds)


def scenes(
    seed: int = 1, size: tuple[int, int] | float = 1.0, each: int = 6, only: str | None = None
) -> Iterator[Scene]:
    """`each` posters, cartoons and photographs, one after the other; `only` keeps names with that in them."""
    for kind in _KINDS:
        for number in range(each):
            if only is None or only in f"{kind}-{number}":
                yield compose(kind, number, seed=seed, size=size)
