"""How a document keeps its numbers: each channel's range, and what full opacity is."""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from bridge.finish.images import Floats
from bridge.picture import Model, Picture, Pixels

Rounding = Literal["nearest", "folded", "truncated", "fused", "plain"]

XYZ_WHITE = 32768 / 65535
"""Y of white in ICC's 16-bit XYZ, as a part of the largest number."""
_RANGES: dict[Model, tuple[list[float], list[float]]] = {
    # in floating point: each channel's values for 0 and 1 of the unit range
    "RGBA": ([0.0] * 3, [1.0] * 3),
    "GRAYA": ([0.0], [1.0]),
    "CMYKA": ([0.0] * 4, [100.0] * 4),
    "LABA": ([0.0, -128.0, -128.0], [100.0, 127.0, 127.0]),
    "XYZA": ([0.0] * 3, [1 / XYZ_WHITE] * 3),
    "YCbCrA": ([0.0] * 3, [1.0] * 3),
}


@dataclass(frozen=True)
class Encoding:
    """The numbers of one colour model at one depth.

    low, high: (C+1,) float32, what 0 and 1 of the unit range are in the document, alpha last. Floating point may go
    beyond: values above 1 are HDR. rounding: how Krita rounds when it blends (see blend.py).
    """

    model: Model
    dtype: np.dtype[Any]
    low: Floats
    high: Floats
    rounding: Rounding

    @staticmethod
    def of(picture: Picture) -> "Encoding":
        return encoding(picture.model, picture.pixels.dtype)

    @property
    def channels(self) -> int:
        """Colour channels, without alpha."""
        return len(self.low) - 1

    @property
    def integer(self) -> bool:
        return self.dtype.kind == "u"

    @property
    def opaque(self) -> int | float:
        """Alpha's value where nothing shows through."""
        return int(np.iinfo(self.dtype).max) if self.integer else 1.0

    @property
    def levels(self) -> float:
        """The size of the range in which errors are told: 255, 65535, or 1 for floating point."""
        return float(self.opaque)

    def to_unit(self, pixels: Pixels) -> Floats:
        """Colours (…, C) or colours with alpha (…, C+1) in the unit range, float32."""
        count = pixels.shape[-1]
        low, high = self.low[:count], self.high[:count]
        if low.any():
            return ((pixels.astype(np.float32) - low) / (high - low)).astype(np.float32, copy=False)
        # One factor for all channels is several times faster than one for each.
        scale = 1 / high[0] if (high == high[0]).all() else 1 / high
        return np.multiply(pixels, scale, dtype=np.float32, casting="unsafe")

    def from_unit(self, unit: Floats) -> Pixels:
        """The other way, (h, w, n); integers are rounded to the nearest and clipped."""
        if self.integer:
            kind = cv2.CV_8U if self.dtype == np.uint8 else cv2.CV_16U
            return cv2.addWeighted(unit, self.levels, unit, 0, 0, dtype=kind).reshape(unit.shape)
        count = unit.shape[-1]
        low, high = self.low[:count], self.high[:count]
        return (unit * (high - low) + low).astype(self.dtype, copy=False)


def encoding(model: Model, dtype: "np.dtype[Any] | type") -> Encoding:
    """The encoding of `model` at uint8, uint16, float16 or float32."""
    dtype = np.dtype(dtype)
    bottom, top = _RANGES[model]
    if dtype.kind == "u":
        most = float(np.iinfo(dtype).max)
        bottom, top = [0.0] * len(bottom), [most] * len(top)
        alpha = most
    else:
        alpha = 1.0
    low, high = np.array([*bottom, 0.0], np.float32), np.array([*top, alpha], np.float32)
    return Encoding(model, dtype, low, high, _rounding(model, dtype))


def _rounding(model: Model, dtype: np.dtype[Any]) -> Rounding:
    if dtype == np.uint8:
        return "nearest" if model in ("RGBA", "LABA") else "folded"
    if dtype == np.uint16:
        return "fused" if model == "RGBA" else "truncated"
    return "fused" if model == "RGBA" and dtype == np.float32 else "plain"
