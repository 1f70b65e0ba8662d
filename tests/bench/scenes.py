"""Scenes whose layers are known, composed from clip art, photographs, drawn grounds and words.

    for scene in scenes(seed=1):
        scene.picture, scene.layers

Seeds that differ modulo four share no clip art: tune on some, report on others.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.bench import grounds, lettering, sources

MEGAPIXEL = 1_000_000
DIFFERS = 0.12  # two colours this far apart in one channel can be told apart


@dataclass(frozen=True)
class Scene:
    """picture: (H, W, 3) uint8; layers: (H, W, 4) uint8 straight alpha, back to front, the first opaque; kinds: one a layer."""

    name: str
    kind: str
    picture: NDArray[np.uint8]
    layers: list[NDArray[np.uint8]]
    kinds: list[str]


@dataclass
class _Canvas:
    """A scene in the making: `flat` is what is seen so far (H, W, 3), `pieces` the placed premultiplied layers with their place."""

    rng: random.Random
    flat: NDArray[np.float32]
    ground: NDArray[np.float32]
    pieces: list[tuple[NDArray[np.float32], int, int, str]]
    taken: NDArray[np.bool_]

    @property
    def size(self) -> tuple[int, int]:
        return self.flat.shape[1], self.flat.shape[0]


def _new(rng: random.Random, ground: NDArray[np.float32]) -> _Canvas:
    ground = (np.round(np.clip(ground, 0, 1) * 255) / 255).astype(np.float32)
    return _Canvas(rng, ground.copy(), ground, [], np.zeros(ground.shape[:2], bool))


def _clip(canvas: _Canvas, piece: NDArray[np.float32], x: int, y: int) -> tuple[NDArray[np.float32], int, int]:
    width, height = canvas.size
    left, top = max(0, -x), max(0, -y)
    inside = piece[top : max(top, height - y), left : max(left, width - x)]
    return inside, x + left, y + top


def _stands_out(canvas: _Canvas, piece: NDArray[np.float32], x: int, y: int) -> bool:
    """Whether most of the piece, and most of its rim, differs from what it is put on."""
    piece, x, y = _clip(canvas, piece, x, y)
    if not piece.size:
        return False
    under = canvas.flat[y : y + piece.shape[0], x : x + piece.shape[1]]
    alpha = piece[..., 3]
    solid = alpha > 0.5
    if solid.sum() < 30:
        return False
    differs = np.abs(piece[..., :3] + under * (1 - alpha[..., None]) - under).max(-1) > DIFFERS
    rim = solid & ~(cv2.erode(solid.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0)
    return bool(differs[solid].mean() > 0.7 and differs[rim].mean() > 0.7)


def _covers(canvas: _Canvas, piece: NDArray[np.float32], x: int, y: int, room: int) -> float:
    """The share of the piece's own pixels, grown by `room`, that other pieces have taken."""
    piece, x, y = _clip(canvas, piece, x, y)
    if not piece.size:
        return 1.0
    solid = cv2.dilate((piece[..., 3] > 0.5).astype(np.uint8), np.ones((2 * room + 1,) * 2, np.uint8)) > 0
    return float(canvas.taken[y : y + piece.shape[0], x : x + piece.shape[1]][solid].mean()) if solid.any() else 1.0


def _put(canvas: _Canvas, piece: NDArray[np.float32], x: int, y: int, kind: str) -> None:
    piece, x, y = _clip(canvas, piece, x, y)
    area = np.s_[y : y + piece.shape[0], x : x + piece.shape[1]]
    canvas.flat[area] = piece[..., :3] + canvas.flat[area] * (1 - piece[..., 3:])
    canvas.taken[area] |= piece[..., 3] > 0.3
    canvas.pieces.append((piece, x, y, kind))


def _with_shadow(rng: random.Random, piece: NDArray[np.float32]) -> NDArray[np.float32]:
    """The piece over its own soft drop shadow, in one layer."""
    h, w = piece.shape[:2]
    blur, dx, dy = max(h, w) * rng.uniform(0.01, 0.03), *(round(max(h, w) * rng.uniform(0.01, 0.04)) for _ in range(2))
    edge = int(3 * blur) + max(dx, dy) + 1
    wide = cv2.copyMakeBorder(piece, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    shadow = cv2.GaussianBlur(np.roll(wide[..., 3], (dy, dx), (0, 1)), (0, 0), blur) * rng.uniform(0.3, 0.5)
    out = wide.copy()
    out[..., 3] = wide[..., 3] + shadow * (1 - wide[..., 3])
    return out


def _place_object(
    canvas: _Canvas, area: tuple[float, float, float, float], share: int, size: float, manner: str, tries: int = 60
) -> None:
    """manner: free | touching (its neighbour) | edge (cut by or close to the canvas's edge) | black. area: fractions of the canvas."""
    rng, (width, height) = canvas.rng, canvas.size
    longest = size * (width * height) ** 0.5
    room = max(3, int(longest * 0.04))
    for piece in islice(sources.objects(rng, share, int(longest)), tries):
        h, w = piece.shape[:2]
        if manner == "black":
            piece = np.dstack([piece[..., 3:] * rng.uniform(0, 0.08)] * 3 + [piece[..., 3]]).astype(np.float32)
        elif rng.random() < 0.1:
            piece = _with_shadow(rng, piece)
        x = int(rng.uniform(area[0] * width, max(area[0] * width, area[2] * width - w)))
        y = int(rng.uniform(area[1] * height, max(area[1] * height, area[3] * height - h)))
        if manner == "edge":
            x, y = rng.choice(
                (
                    (-int(w * rng.uniform(0, 0.2)), y),
                    (width - int(w * rng.uniform(0.8, 1)), y),
                    (x, height - int(h * rng.uniform(0.85, 1))),
                )
            )
        if manner == "touching" and canvas.pieces:
            spot = _beside(canvas, piece, y)
            if spot is None:
                continue
            x, y = spot
        elif _covers(canvas, piece, x, y, room) > 0:
            continue
        if _stands_out(canvas, piece, x, y):
            _put(canvas, piece, x, y, "object")
            return


def _beside(canvas: _Canvas, piece: NDArray[np.float32], y: int) -> tuple[int, int] | None:
    """A place where the piece just laps over the last placed object (by 0.5 to 8 percent of itself)."""
    last, left, top, _ = canvas.pieces[-1]
    h, w = piece.shape[:2]
    y = top + last.shape[0] - h + canvas.rng.randint(-h // 8, h // 8)
    step = max(1, w // 40)
    rightwards = left + last.shape[1] / 2 < canvas.size[0] / 2
    x = left + last.shape[1] if rightwards else left - w
    for _ in range(40):
        if not (-0.05 * w < x < canvas.size[0] - 0.95 * w and -0.05 * h < y < canvas.size[1] - 0.95 * h):
            return None
        lap = _covers(canvas, piece, x, y, 1)
        if lap > 0.08:
            return None
        if lap > 0.005:
            return x, y
        x += -step if rightwards else step
    return None


def _place_text(
    canvas: _Canvas, text: str, cap: float, y: float, widest: float = 0.9, over: float = 0.0, tries: int = 30
) -> float:
    """Put a line near height y (a fraction); return the fraction where it ends. over: the share of it that may lie on objects."""
    rng, (width, height) = canvas.rng, canvas.size
    align = rng.choice(("centre", "centre", "left", "right"))
    for attempt in range(tries):
        dark = rng.random() < 0.5
        tone = grounds.colour(rng, (0.0, 0.9), (0.0, 0.3) if dark else (0.85, 1.0))
        piece = lettering.line_of_text(rng, text, cap * height * 0.95**attempt, tone, widest * width)
        h, w = piece.shape[:2]
        margin = 0.05 * width
        x = int(
            {"centre": (width - w) / 2, "left": margin, "right": width - w - margin}[align]
            if attempt < 12
            else rng.uniform(0.02, 0.98 - w / width) * width
        )
        top = int(np.clip(y + (0 if attempt < 6 else rng.uniform(-0.1, 0.1)), 0.02, 0.98 - h / height) * height)
        if _covers(canvas, piece, x, top, max(2, h // 6)) <= over and _legible(canvas, piece, x, top):
            _put(canvas, piece, x, top, "text")
            return (top + h) / height
    return y


def _legible(canvas: _Canvas, piece: NDArray[np.float32], x: int, y: int) -> bool:
    under = canvas.flat[y : y + piece.shape[0], x : x + piece.shape[1]]
    solid = piece[..., 3] > 0.8
    if solid.sum() < 20:
        return False
    light = np.abs((piece[..., :3] - under)[solid] @ np.array([0.3, 0.59, 0.11], np.float32))
    return bool(np.percentile(light, 10) > 0.3)


def _poster(rng: random.Random, width: int, height: int, share: int, number: int) -> _Canvas:
    kind = grounds.POSTER_GROUNDS[(number + rng.randint(0, 1)) % len(grounds.POSTER_GROUNDS)]
    canvas = _new(rng, kind(rng, width, height))
    title_below = rng.random() < 0.25
    area = (0.03, 0.05, 0.97, 0.6) if title_below else (0.03, 0.27, 0.97, 0.8)
    count = rng.choice((1, 2, 2, 3))
    for _ in range(count):
        _place_object(canvas, area, share, rng.uniform(0.42, 0.6) if count == 1 else rng.uniform(0.22, 0.4), "free")
    over = 0.3 if rng.random() < 0.25 else 0.0
    end = _place_text(
        canvas, lettering.phrase(rng, "title"), rng.uniform(0.06, 0.11), 0.66 if title_below else 0.05, over=over
    )
    if rng.random() < 0.7:
        end = _place_text(canvas, lettering.phrase(rng, "line"), rng.uniform(0.03, 0.05), end + 0.03)
    _place_text(canvas, lettering.phrase(rng, "line"), rng.uniform(0.03, 0.05), 0.85)
    if rng.random() < 0.7:
        _place_text(canvas, lettering.phrase(rng, "small"), rng.uniform(0.016, 0.026), 0.93)
    return canvas


def _cartoon(rng: random.Random, width: int, height: int, share: int, number: int) -> _Canvas:
    canvas = _new(rng, grounds.landscape(rng, width, height))
    manners = (
        ("free", "free"),
        ("free", "touching"),
        ("edge", "free"),
        ("free", "black", "free"),
        ("free", "touching", "edge"),
        ("edge", "black"),
    )
    for manner in manners[number % len(manners)]:
        _place_object(canvas, (0.02, 0.12, 0.98, 0.98), share, rng.uniform(0.22, 0.42), manner)
    if rng.random() < 0.35:
        _place_text(canvas, lettering.phrase(rng, "title"), rng.uniform(0.05, 0.09), 0.05)
    return canvas


def _captioned_photograph(rng: random.Random, width: int, height: int, share: int, number: int) -> _Canvas:
    canvas = _new(rng, sources.photograph(rng, width, height).astype(np.float32) / 255)
    for _ in range(1 + (number % 3 == 1)):
        _place_object(
            canvas, (0.05, 0.15, 0.95, 0.95), share, rng.uniform(0.25, 0.45), "edge" if rng.random() < 0.2 else "free"
        )
    _place_text(canvas, lettering.phrase(rng, "title"), rng.uniform(0.05, 0.1), rng.choice((0.05, 0.8)))
    if rng.random() < 0.6:
        _place_text(
            canvas,
            lettering.phrase(rng, rng.choice(("line", "small"))),
            rng.uniform(0.022, 0.045),
            rng.choice((0.2, 0.92)),
        )
    return canvas


_KINDS: dict[str, Callable[[random.Random, int, int, int, int], _Canvas]] = {
    "poster": _poster,
    "cartoon": _cartoon,
    "photograph": _captioned_photograph,
}


def _straight(canvas: _Canvas) -> list[NDArray[np.uint8]]:
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
    """`each` posters, cartoons and photographs, one after the other; `only` keeps the scenes with that in their name."""
    for kind in _KINDS:
        for number in range(each):
            if only is None or only in f"{kind}-{number}":
                yield compose(kind, number, seed=seed, size=size)
