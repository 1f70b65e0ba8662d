"""Drawn grounds: what posters and flat cartoons stand on. All return (height, width, 3) float32 0…1."""

import colorsys
import random
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Ground = NDArray[np.float32]
Colour = tuple[float, float, float]
OVERSAMPLED = 2


def colour(
    rng: random.Random, saturation: tuple[float, float], value: tuple[float, float], hue: float | None = None
) -> Colour:
    h = rng.random() if hue is None else hue % 1.0
    return colorsys.hsv_to_rgb(h, rng.uniform(*saturation), rng.uniform(*value))


def _polygons(shape: tuple[int, int], polygons: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    """(H, W) coverage 0…1 of filled polygons given in pixels, with soft edges."""
    mask = np.zeros((shape[0] * OVERSAMPLED, shape[1] * OVERSAMPLED), np.uint8)
    for points in polygons:
        cv2.fillPoly(mask, [np.round(points * OVERSAMPLED * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def _mix(back: Ground, front: Ground | Colour, mask: NDArray[np.float32]) -> Ground:
    return (back + (np.asarray(front, np.float32) - back) * mask[..., None]).astype(np.float32)


def flat(rng: random.Random, width: int, height: int) -> Ground:
    tone = colour(rng, (0.05, 0.8), (0.25, 1.0))
    return np.broadcast_to(np.asarray(tone, np.float32), (height, width, 3)).copy()


def gradient(rng: random.Random, width: int, height: int) -> Ground:
    """Linear at any angle, or round, between two or three tones."""
    hue = rng.random()
    tones = [colour(rng, (0.1, 0.85), (0.3, 1.0), hue + rng.uniform(-0.18, 0.18)) for _ in range(rng.choice((2, 2, 3)))]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.7:
        angle = rng.uniform(0, 2 * np.pi)
        t = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
    else:
        t = np.hypot(x - width * rng.uniform(0.2, 0.8), y - height * rng.uniform(0.2, 0.8))
    t = (t - t.min()) / (t.max() - t.min())
    stops = np.linspace(0, 1, len(tones))
    return np.dstack([np.interp(t, stops, [tone[c] for tone in tones]) for c in range(3)]).astype(np.float32)


def stripes(rng: random.Random, width: int, height: int) -> Ground:
    hue = rng.random()
    a, b = (colour(rng, (0.2, 0.7), (0.55, 1.0), hue + rng.uniform(-0.05, 0.05)) for _ in range(2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = (
        rng.choice((0.0, np.pi / 2, np.pi / 4, -np.pi / 4, rng.uniform(0, np.pi))),
        max(width, height) / rng.uniform(8, 30),
    )
    phase = ((x * np.cos(angle) + y * np.sin(angle)) / period) % 1.0
    mask = np.clip((0.25 - np.abs(phase - 0.5)) * period + 0.5, 0, 1).astype(np.float32)
    return _mix(np.broadcast_to(np.asarray(a, np.float32), (height, width, 3)), b, mask)


def dots(rng: random.Random, width: int, height: int) -> Ground:
    hue = rng.random()
    a, b = (colour(rng, (0.2, 0.7), (0.6, 1.0), hue + rng.uniform(-0.06, 0.06)) for _ in range(2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    period = max(width, height) / rng.uniform(10, 28)
    row = np.floor(y / (period * 0.866))
    u, v = ((x / period + 0.5 * (row % 2)) % 1 - 0.5) * period, (y / (period * 0.866) % 1 - 0.5) * period * 0.866
    mask = np.clip(period * rng.uniform(0.15, 0.3) - np.hypot(u, v) + 0.5, 0, 1).astype(np.float32)
    return _mix(np.broadcast_to(np.asarray(a, np.float32), (height, width, 3)), b, mask)


def rays(rng: random.Random, width: int, height: int) -> Ground:
    hue = rng.random()
    a, b = (
        colour(rng, (0.3, 0.8), (0.7, 1.0), hue),
        colour(rng, (0.2, 0.6), (0.85, 1.0), hue + rng.uniform(-0.08, 0.08)),
    )
    centre = np.array([width * rng.uniform(0.3, 0.7), height * rng.uniform(0.3, 1.0)])
    count, far, turn = rng.randint(8, 18), 2.0 * np.hypot(width, height), rng.uniform(0, 1)
    wedges = []
    for k in range(count):
        ends = [2 * np.pi * (k + part + turn) / count for part in (0.0, 0.5)]
        wedges.append(np.array([centre] + [centre + far * np.array([np.cos(e), np.sin(e)]) for e in ends]))
    return _mix(np.broadcast_to(np.asarray(a, np.float32), (height, width, 3)), b, _polygons((height, width), wedges))


def bands(rng: random.Random, width: int, height: int) -> Ground:
    """A poster's large areas: a straight or slanted band or a frame over a flat or graded ground."""
    ground = rng.choice((flat, gradient))(rng, width, height)
    top, tilt = rng.uniform(0.55, 0.8) * height, rng.uniform(-0.1, 0.1) * height
    shape = np.array([[-9, top - tilt], [width + 9, top + tilt], [width + 9, height + 9], [-9, height + 9]], float)
    return _mix(ground, colour(rng, (0.1, 0.9), (0.2, 1.0)), _polygons((height, width), [shape]))


def paper(rng: random.Random, width: int, height: int) -> Ground:
    """A light tone with the grain and the slow unevenness of paper."""
    ground = np.broadcast_to(
        np.asarray(colour(rng, (0.02, 0.25), (0.8, 0.97), rng.uniform(0.05, 0.15)), np.float32), (height, width, 3)
    )
    noise = np.random.default_rng(rng.getrandbits(32))
    slow = cv2.resize(noise.normal(0, 1, (9, 9)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(noise.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 0.8)
    return np.clip(ground + (0.015 * slow + 0.03 * grain)[..., None], 0, 1).astype(np.float32)


def _hill(rng: random.Random, width: int, height: int, level: float) -> NDArray[np.float64]:
    x = np.linspace(-9, width + 9, 200)
    y = np.full_like(x, level * height)
    for _ in range(3):
        y += (
            rng.uniform(0.01, 0.05)
            * height
            * np.sin(2 * np.pi * rng.uniform(0.4, 1.8) * x / width + rng.uniform(0, 6.3))
        )
    if rng.random() < 0.25:  # a mountain range: straight slopes
        knots = np.linspace(-9, width + 9, rng.randint(4, 8))
        y = np.interp(x, knots, [level * height + rng.uniform(-0.12, 0.08) * height for _ in knots])
    return np.vstack([np.column_stack([x, y]), [[width + 9, height + 9], [-9, height + 9]]])


def landscape(rng: random.Random, width: int, height: int) -> Ground:
    """Flat cartoon country: a flat or graded sky and one to four flat hills, or sea and sand, or a floor and a wall."""
    night = rng.random() < 0.2
    sky_hue = rng.choice((0.55, 0.58, 0.52, 0.08, 0.9, rng.random()))
    sky_tone = colour(rng, (0.5, 0.8), (0.15, 0.35), 0.65) if night else colour(rng, (0.15, 0.6), (0.8, 1.0), sky_hue)
    ground = np.broadcast_to(np.asarray(sky_tone, np.float32), (height, width, 3)).copy()
    if rng.random() < 0.4:
        low = np.asarray(colour(rng, (0.05, 0.4), (0.3, 0.5) if night else (0.9, 1.0), sky_hue + 0.1), np.float32)
        t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        ground = (ground * (1 - t) + low * t).astype(np.float32)
    hue = rng.choice((0.3, 0.33, 0.27, 0.12, 0.09, 0.6, rng.random()))
    level = rng.uniform(0.4, 0.65)
    count = rng.randint(1, 4)
    for k in range(count):
        tone = colour(rng, (0.35, 0.8), (0.2, 0.4) if night else (0.45, 0.9), hue + rng.uniform(-0.06, 0.06))
        ground = _mix(ground, tone, _polygons((height, width), [_hill(rng, width, height, level)]))
        level += rng.uniform(0.1, 0.9 * (1 - level) / (count - k) + 0.1)
    return ground


POSTER_GROUNDS: tuple[Callable[[random.Random, int, int], Ground], ...] = (
    gradient,
    flat,
    stripes,
    paper,
    bands,
    dots,
    rays,
)
