"""Puts clip art and words on a ground where they can be seen, and remembers each as a layer."""

import random
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.bench import grounds, lettering, sources

DIFFERS = 0.12  # two colours this far apart in one channel can be told apart


@dataclass
class Canvas:
    """A scene in the making. flat: what is seen so far; pieces: premultiplied layers with their place and kind."""

    rng: random.Random
    flat: NDArray[np.float32]
    ground: NDArray[np.float32]
    pieces: list[tuple[NDArray[np.float32], int, int, str]]
    taken: NDArray[np.bool_]

    @property
    def size(self) -> tuple[int, int]:
        return self.flat.shape[1], self.flat.shape[0]


def new_canvas(rng: random.Random, ground: NDArray[np.float32]) -> Canvas:
    ground = (np.round(np.clip(ground, 0, 1) * 255) / 255).astype(np.float32)
    return Canvas(rng, ground.copy(), ground, [], np.zeros(ground.shape[:2], bool))


def _clip(canvas: Canvas, piece: NDArray[np.float32], x: int, y: int) -> tuple[NDArray[np.float32], int, int]:
    width, height = canvas.size
    left, top = max(0, -x), max(0, -y)
    inside = piece[top : max(top, height - y), left : max(left, width - x)]
    return inside, x + left, y + top


def _stands_out(canvas: Canvas, piece: NDArray[np.float32], x: int, y: int) -> bool:
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


def _covers(canvas: Canvas, piece: NDArray[np.float32], x: int, y: int, room: int) -> float:
    """The share of the piece's own pixels, grown by `room`, that other pieces have taken."""
    piece, x, y = _clip(canvas, piece, x, y)
    if not piece.size:
        return 1.0
    solid = cv2.dilate((piece[..., 3] > 0.5).astype(np.uint8), np.ones((2 * room + 1,) * 2, np.uint8)) > 0
    return float(canvas.taken[y : y + piece.shape[0], x : x + piece.shape[1]][solid].mean()) if solid.any() else 1.0


def _put(canvas: Canvas, piece: NDArray[np.float32], x: int, y: int, kind: str) -> None:
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


def place_object(
    canvas: Canvas, area: tuple[float, float, float, float], seed: int, size: float, manner: str, tries: int = 60
) -> None:
    """manner: free | touching (a neighbour) | edge (cut by the canvas) | black. area: fractions of the canvas."""
    rng, (width, height) = canvas.rng, canvas.size
    longest = size * (width * height) ** 0.5
    room = max(3, int(longest * 0.04))
    for piece in islice(sources.objects(rng, seed, int(longest)), tries):
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


def _beside(canvas: Canvas, piece: NDArray[np.float32], y: int) -> tuple[int, int] | None:
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


def place_text(
    canvas: Canvas, text: str, cap: float, y: float, widest: float = 0.9, over: float = 0.0, tries: int = 30
) -> float:
    """Put a line near height y (a fraction); return where it ends. over: the share of it that may lie on objects."""
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


def _legible(canvas: Canvas, piece: NDArray[np.float32], x: int, y: int) -> bool:
    under = canvas.flat[y : y + piece.shape[0], x : x + piece.shape[1]]
    solid = piece[..., 3] > 0.8
    if solid.sum() < 20:
        return False
    light = np.abs((piece[..., :3] - under)[solid] @ np.array([0.3, 0.59, 0.11], np.float32))
    return bool(np.percentile(light, 10) > 0.3)
