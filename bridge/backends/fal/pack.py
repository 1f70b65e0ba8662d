"""The picture as it is sent to fal: a PNG file, no larger than what the model looks at. For workers."""

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Picture

U8 = NDArray[np.uint8]

AREA = 1024 * 1024
"""Pixels that the model works on at most, whatever it is given."""
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
"""What PNG's filters leave has few repeats to look for: without the search the files are a tenth smaller than at zlib's
level 3, in half the time."""


def pack(picture: Picture) -> bytes:
    """The picture's sRGB view as a PNG file, scaled down to AREA where it is larger; with alpha where it has any."""
    seen = _scaled(picture.view)
    seen = cv2.cvtColor(seen, cv2.COLOR_RGBA2BGR if picture.is_opaque else cv2.COLOR_RGBA2BGRA)
    whole, data = cv2.imencode(".png", seen, PNG)
    assert whole
    return data.tobytes()


def _scaled(view: U8) -> U8:
    """(h, w, 4) uint8 RGBA at most AREA large, at its aspect."""
    height, width = view.shape[:2]
    scale = (AREA / (width * height)) ** 0.5
    if scale >= 1:
        return view
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if (view[..., 3] == 255).all():
        return np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)
    # premultiplied, so that no colour of a clear pixel runs into its neighbours
    small = cv2.resize(_premultiplied(view, int(1 / scale)), size, interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-6)
    return np.dstack([colour, 255 * small[..., 3:]]).round().clip(0, 255).astype(np.uint8)


def _premultiplied(view: U8, step: int) -> NDArray[np.float32]:
    """(h // step, w // step, 4) float32 means over squares of `step` pixels, alpha 0–1; some rows at a time, since four
    floats for each of 100 million pixels are too many."""
    width, rows = view.shape[1] // step, list[NDArray[np.float32]]()
    for top in range(0, view.shape[0] - step + 1, step):
        some = view[top : top + step, : width * step].astype(np.float32)
        some[..., 3] /= 255
        some[..., :3] *= some[..., 3:]
        rows.append(some.reshape(step, width, step, 4).mean((0, 2)))
    return np.stack(rows)
