"""A shape at working size becomes a soft cut at the picture's own."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, components, fill_pinholes
from bridge.backends.builtin.matting import closed_form, settle, trimap_around, upsample

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class CutParams:
    """How a shape is cut out. Lengths in pixels."""

    room: float = 0.1
    """How much of its ground is looked at around a shape, a share of its longer side …"""
    least_room: int = 12
    """… and this on top of it."""
    matte_side: int = 640
    """The matte is made on a picture of at most this many pixels a side."""
    least_side: int = 4
    """And of at least this many."""
    fewest: int = 16
    """A shape of fewer pixels there is nothing."""
    band: int = 3
    """From the shape's edge to either side: what is unknown to the matte."""
    grab_rounds: int = 3
    """Of GrabCut."""
    grab_band: int = 80
    """GrabCut may move an edge by the longer side divided by this …"""
    least_grab_band: int = 3
    """… or by this."""
    crumb: float = 0.01
    """Pieces of less than this share of the shape are left out."""
    pinhole: float = 0.002
    """Holes of less than this share of the shape are filled."""


PARAMS = CutParams()


@dataclass(frozen=True)
class Cutout:
    """alpha: (h, w) float32 0…1; left, top: canvas pixels."""

    alpha: Floats
    left: int
    top: int

    @property
    def place(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.alpha.shape[0]), slice(self.left, self.left + self.alpha.shape[1])


def cut_out(rgb: Rgb, shape: Mask, *, exact: bool, seed: int, params: CutParams = PARAMS) -> Cutout | None:
    """The soft cut of `shape` (h, w) bool, found at working size, from `rgb` (H, W, 3) uint8; None where nothing is
    left of it.

    exact: the shape's edge is right to a pixel; otherwise GrabCut moves it to where the colours part.
    """
    top, bottom, left, right = _room(shape, rgb.shape[0], rgb.shape[1], params)
    crop = np.ascontiguousarray(rgb[top:bottom, left:right])
    scale = min(1.0, params.matte_side / max(crop.shape[:2]))
    least = params.least_side
    size = (max(least, round(crop.shape[1] * scale)), max(least, round(crop.shape[0] * scale)))
    small = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    mask = _placed(shape, rgb.shape[1], rgb.shape[0], (left, top, right, bottom), size)
    if not exact:
        mask = _grab(small, mask, seed, params)
    if mask.sum() < params.fewest:
        return None
    alpha = settle(closed_form(small, trimap_around(mask, params.band)))
    return Cutout(settle(upsample(crop, small, alpha)), left, top)


def _room(shape: Mask, height: int, width: int, params: CutParams) -> tuple[int, int, int, int]:
    """Top, bottom, left, right in picture pixels: the shape's box with room around it for its ground."""
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    down, across = height / shape.shape[0], width / shape.shape[1]
    top, bottom = rows[0] * down, (rows[-1] + 1) * down
    left, right = columns[0] * across, (columns[-1] + 1) * across
    room = params.room * max(bottom - top, right - left) + params.least_room
    return (
        max(0, int(top - room)), min(height, int(bottom + room) + 1),
        max(0, int(left - room)), min(width, int(right + room) + 1),
    )  # fmt: skip


def _placed(shape: Mask, width: int, height: int, box: tuple[int, int, int, int], size: tuple[int, int]) -> Mask:
    """`shape`, which covers a picture of width × height, as it lies in `box` (left, top, right, bottom), at `size`."""
    left, top, right, bottom = box
    across, down = shape.shape[1] / width, shape.shape[0] / height
    step_x, step_y = (right - left) * across / size[0], (bottom - top) * down / size[1]
    matrix = np.array(
        [[step_x, 0, left * across + step_x / 2 - 0.5], [0, step_y, top * down + step_y / 2 - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(shape.astype(np.float32), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) > 0.5


def _grab(image: Rgb, mask: Mask, seed: int, params: CutParams) -> Mask:
    """`mask` moved to where the colours inside and outside part (Rother and others, GrabCut, 2004)."""
    trimap = trimap_around(mask, max(params.least_grab_band, max(mask.shape) // params.grab_band))
    marks = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[trimap == 1], marks[trimap == 0] = cv2.GC_FGD, cv2.GC_BGD
    inside = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    if inside.all() or not inside.any():
        return mask
    cv2.setRNGSeed(seed)
    models = np.zeros((1, 65)), np.zeros((1, 65))  # OpenCV's own working space
    cv2.grabCut(image, marks, (0, 0, 1, 1), *models, params.grab_rounds, cv2.GC_INIT_WITH_MASK)
    grabbed = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    found = components(grabbed)
    kept = found.area >= params.crumb * grabbed.sum()
    kept[0] = False
    return fill_pinholes(kept[found.labels], params.pinhole * grabbed.sum()) if found.count > 1 else grabbed
