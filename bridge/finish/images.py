"""Fast operations on images of any number of channels.

OpenCV drops the axis of a single channel, and numpy is slow where the last axis is short and one operand lacks it. Here
shapes stay as they are, (h, w) or (h, w, C), and no operand is broadcast over the last axis.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Pixels

Floats = NDArray[np.float32]
MOST_CHANNELS = 4
"""What OpenCV takes in some of its ways of resizing."""


def floats(values: NDArray[Any]) -> Floats:
    """The same array, told to be float32: OpenCV's and numpy's types do not tell."""
    return np.asarray(values, np.float32)


def each(values: Floats, count: int) -> Floats:
    """(h, w) as (h, w, count), the same in each channel."""
    return floats(cv2.merge([values] * count)).reshape(*values.shape, count)


def joined(colour: Pixels, alpha: Pixels) -> Pixels:
    """(h, w, C) and (h, w) as (h, w, C+1)."""
    return cv2.merge([*split(colour), alpha]).reshape(*alpha.shape, colour.shape[2] + 1)


def split(pixels: Pixels) -> list[Pixels]:
    """(h, w, n) as n planes (h, w)."""
    return [plane.reshape(pixels.shape[:2]) for plane in cv2.split(pixels)]


def square(radius: int) -> NDArray[np.uint8]:
    """A square structuring element that reaches `radius` pixels to each side."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def mean_of_channels(values: Floats) -> Floats:
    """(h, w, C) → (h, w)."""
    count = values.shape[2]
    return floats(cv2.transform(values, np.full((1, count), 1 / count))).reshape(values.shape[:2])


def blurred(values: Floats, size: int) -> Floats:
    """The mean over windows of size × size."""
    return floats(cv2.blur(values, (size, size))).reshape(values.shape)


def half(values: Floats) -> Floats:
    """At half the size; sides are even."""
    return resized(values, values.shape[1] // 2, values.shape[0] // 2, cv2.INTER_AREA)


def fitted(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Enlarged to the first two of `shape`, between the centres."""
    return values if values.shape[:2] == shape[:2] else resized(values, shape[1], shape[0], cv2.INTER_LINEAR)


def enlarged(values: Pixels, step: int, how: int) -> Pixels:
    """Enlarged by a whole number, in its own dtype. how: OpenCV's interpolation."""
    return values if step == 1 else resized(values, values.shape[1] * step, values.shape[0] * step, how)


def resized(values: Pixels, width: int, height: int, how: int) -> Pixels:
    """At another size, in its own dtype. how: OpenCV's interpolation."""
    if values.ndim == 3 and values.shape[2] > MOST_CHANNELS:  # CMYK with alpha has five
        parts = [
            resized(np.ascontiguousarray(part), width, height, how)
            for part in np.split(values, range(MOST_CHANNELS, values.shape[2], MOST_CHANNELS), axis=2)
        ]
        return np.concatenate(parts, 2)
    return cv2.resize(values, (width, height), interpolation=how).reshape(height, width, *values.shape[2:])


def towards(colour: Floats, other: Floats, share: Floats) -> Floats:
    """`colour` (h, w, C) moved towards `other` by `share` (h, w) 0–1, in place; returns it."""
    step = other - colour
    step *= each(share, colour.shape[2])
    colour += step
    return colour


def smoothstep(values: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, smooth between."""
    t = floats(np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1))
    return floats(t * t * (3 - 2 * t))
