"""Masks, (H, W) bool: grown and shrunk, cut into connected components, measured."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
Floats = NDArray[np.float32]


def disc(radius: int) -> NDArray[np.uint8]:
    """A round structuring element of (2·radius+1)² pixels."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def square(radius: int) -> NDArray[np.uint8]:
    """A square structuring element of (2·radius+1)² pixels."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


SQUARE = square(1)
"""A pixel and its eight neighbours."""


def grow(mask: Mask, radius: int) -> Mask:
    """`mask` dilated by a disc of `radius` pixels."""
    return cv2.dilate(mask.astype(np.uint8), disc(radius)) > 0 if radius > 0 else mask


def shrink(mask: Mask, radius: int) -> Mask:
    """`mask` eroded by a disc of `radius` pixels.

    Outside the picture counts as inside, so an object cut off by the border stays whole there.
    """
    return cv2.erode(mask.astype(np.uint8), disc(radius)) > 0 if radius > 0 else mask


def grow_square(mask: Mask, radius: int) -> Mask:
    """`mask` dilated by a square: many times faster than a disc where `radius` is large."""
    return cv2.dilate(mask.astype(np.uint8), square(radius)) > 0


def shrink_square(mask: Mask, radius: int) -> Mask:
    """`mask` eroded by a square; outside the picture counts as inside."""
    return cv2.erode(mask.astype(np.uint8), square(radius)) > 0


@dataclass(frozen=True)
class Components:
    """The connected components of a mask.

    labels: (H, W) int32, each pixel's component, 0 outside the mask. left, top, width, height: (n,) each component's
    box in pixels; area: (n,) its pixels. Number 0 is what lies outside the mask.
    """

    labels: Labels
    left: Labels
    top: Labels
    width: Labels
    height: Labels
    area: Labels

    @property
    def count(self) -> int:
        """How many there are, the outside included."""
        return len(self.area)


def components(mask: Mask, *, diagonal: bool = True) -> Components:
    """The connected components of `mask`; `diagonal`: pixels that touch at a corner are connected."""
    connectivity = 8 if diagonal else 4
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    left, top, width, height, area = np.asarray(stats, np.int32).T
    return Components(np.asarray(labels, np.int32), left, top, width, height, area)


def distance_to(mask: Mask, *, exact: bool = False) -> Floats:
    """(H, W) float32: how far each pixel is from `mask`, in pixels; 0 within it. exact: by the slower, better of two
    approximations."""
    size = cv2.DIST_MASK_5 if exact else cv2.DIST_MASK_3
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, size), np.float32)


def fill_pinholes(mask: Mask, largest: float) -> Mask:
    """`mask` with its holes of less than `largest` pixels filled; what reaches the canvas's edge is no hole."""
    height, width = mask.shape
    holes = components(~mask, diagonal=False)
    inside = (
        (holes.left > 0) & (holes.top > 0) & (holes.left + holes.width < width) & (holes.top + holes.height < height)
    )
    fill = (holes.area < largest) & inside
    fill[0] = False
    return mask | fill[holes.labels] if holes.count > 1 else mask
