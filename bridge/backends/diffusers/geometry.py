"""The size that the model works at: an area of 640² or 1024² pixels in the picture's own proportions."""

from typing import Literal

Resolution = Literal[640, 1024]
SIDE = 32
"""Sides are rounded to it."""


def frame_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Width and height of the model's frames for a picture, as diffusers computes them; at least 32 each, so that a
    very long strip keeps a side."""
    ratio = width / height
    wide = (resolution * resolution * ratio) ** 0.5
    return max(SIDE, round(wide / SIDE) * SIDE), max(SIDE, round(wide / ratio / SIDE) * SIDE)
