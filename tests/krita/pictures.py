"""Pictures for the tests in Krita, and how they look before and after. Krita's order: blue, green, red, alpha."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.krita.window import Krita

Pixels = NDArray[np.uint8]


def noise(width: int, height: int, clear: bool = False) -> Pixels:
    """(height, width, 4) blue, green, red, alpha. clear: every kind of alpha, in bands."""
    pixels = np.random.default_rng(width * 7919 + height).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255
    if clear:
        third = height // 3
        pixels[third : 2 * third, :, 3] = np.linspace(0, 255, width).astype(np.uint8)
        pixels[2 * third :, :, 3] = 0
    return pixels


def seen(krita: Krita, name: str, folder: Path) -> Pixels:
    """The picture as the artist sees it. What is fully transparent looks the same whatever its colour: made black."""
    file = folder / f"{name}.raw"
    width, height = krita.projection(name=name, path=str(file))
    pixels = np.fromfile(file, np.uint8).reshape(height, width, 4)
    pixels[pixels[..., 3] == 0] = 0
    return pixels


def compare(before: Pixels, after: Pixels) -> tuple[int, float]:
    """Largest difference of a channel, and the share of pixels that are identical."""
    difference = np.abs(before.astype(np.int16) - after)
    return int(difference.max()), float((difference.max(-1) == 0).mean())
