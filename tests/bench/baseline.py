"""The least that a splitter must beat: one saliency cut, and OpenCV's fill behind it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.saliency import salience

RADIUS = 5  # of Telea's method, in pixels


def split(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Two layers, (H, W, 4) uint8 straight alpha: the filled back, and whatever stands out in one piece."""
    height, width = picture.shape[:2]
    alpha = np.round(salience(picture) * 255).astype(np.uint8)
    hole = cv2.dilate((alpha > 25).astype(np.uint8), np.ones((7, 7), np.uint8))
    back = cv2.inpaint(picture, hole, RADIUS, cv2.INPAINT_TELEA) if hole.any() and not hole.all() else picture
    return [np.dstack([back, np.full((height, width), 255, np.uint8)]), np.dstack([picture, alpha])]
