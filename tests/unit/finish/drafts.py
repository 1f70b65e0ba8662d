"""A small scene whose layers are known, and what models make of it."""

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Layer, Picture, Stack

U8 = NDArray[np.uint8]
WIDTH, HEIGHT = 600, 400


def scene(width: int = WIDTH, height: int = HEIGHT) -> list[U8]:
    """(height, width, 4): a ground with a slope of colour, a disc, a smaller disc that laps over it, thin lines."""
    across = np.linspace(0, 1, width)[None, :, None]
    back = np.broadcast_to(np.array([60, 90, 150]) + across * np.array([60, 40, -30]), (height, width, 3))
    layers = [np.dstack([back, np.full((height, width), 255.0)]).round().astype(np.uint8)]
    for colour, place in (((220, 60, 40), (0.4, 0.5, 0.3)), ((240, 220, 60), (0.6, 0.5, 0.18))):
        layers.append(_drawn(width, height, colour, partial(_disc, place=place)))
    layers.append(_drawn(width, height, (250, 250, 250), _lines))
    return layers


def _disc(ink: U8, place: tuple[float, float, float]) -> None:
    height, width = ink.shape
    x, y, radius = place
    cv2.circle(ink, (round(x * width), round(y * height)), round(radius * height), 255, -1)


def _lines(ink: U8) -> None:
    height = ink.shape[0]
    for k in range(6):
        x = 4 * (20 + 12 * k)
        cv2.line(ink, (x, 40), (x + 36, height // 8), 255, 6)


def _drawn(width: int, height: int, colour: tuple[int, int, int], draw) -> U8:
    ink = np.zeros((4 * height, 4 * width), np.uint8)
    draw(ink)
    alpha = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
    return np.dstack([np.full((height, width, 3), colour, np.uint8), alpha])


def flattened(layers: list[U8]) -> U8:
    flat = layers[0][..., :3].astype(np.float64)
    for layer in layers[1:]:
        flat += (layer[..., :3] - flat) * (layer[..., 3:] / 255.0)
    return np.dstack([flat.round(), np.full(flat.shape[:2], 255.0)]).astype(np.uint8)


def picture(layers: list[U8] | None = None) -> Picture:
    return Picture(flattened(layers or scene()))


def small(layer: U8, factor: int = 3) -> U8:
    """As a model gives it: smaller, softer, a little off in colour, opaque at 251."""
    alpha = layer[..., 3].astype(np.float32) / 255
    both = np.dstack([layer[..., :3] * alpha[..., None], alpha])
    size = (layer.shape[1] // factor, layer.shape[0] // factor)
    both = cv2.GaussianBlur(cv2.resize(both, size, interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    colour = both[..., :3] / np.maximum(both[..., 3:], 1e-3) + (4, -3, 5)
    return np.dstack([colour, both[..., 3] * 251]).clip(0, 255).round().astype(np.uint8)


def draft(layers: list[U8]) -> Stack:
    return Stack(tuple(Layer("", each) for each in layers), layers[0].shape[1], layers[0].shape[0])


def blank(like: U8) -> U8:
    rng = np.random.default_rng(0)
    return np.dstack([rng.integers(0, 256, (*like.shape[:2], 3)), rng.integers(0, 20, like.shape[:2])]).astype(np.uint8)


def on_canvas(layer: Layer, stack: Stack) -> U8:
    whole = np.zeros((stack.height, stack.width, layer.pixels.shape[2]), layer.pixels.dtype)
    left, top, width, height = layer.rect
    whole[top : top + height, left : left + width] = layer.pixels
    return whole


def soft_iou(one: U8, other: U8) -> float:
    return float(np.minimum(one, other).sum(dtype=np.int64) / np.maximum(one, other).sum(dtype=np.int64))
