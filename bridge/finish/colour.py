"""Colours that a model invented, from sRGB into the document's own colour space."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.errors import BadPicture
from bridge.finish.encoding import Encoding
from bridge.finish.images import Floats, floats
from bridge.picture import Model, Picture

U8 = NDArray[np.uint8]
_numpy: Any = np  # its stubs do not type interp for float32

_LCMS_NAMES: dict[Model, str] = {
    "RGBA": "rgb",
    "GRAYA": "gray",
    "CMYKA": "cmyk",
    "LABA": "lab",
    "XYZA": "xyz",
    "YCbCrA": "ycbcr",
}
PERCEPTUAL = 0
"""The rendering intent of Krita's own conversions: with it the same sRGB colours give Krita's numbers."""
DEEP = 65535
"""The greatest number of 16 bits."""
RAMP = 256
"""Greys by which the steepness is read."""


class ToDocument:
    """Converts sRGB colours into a picture's colour space.

    Little CMS does it, in 16 bit: 20 ns a colour against 160 in floating point, and a model's colours have 8 bits.
    Raises BadPicture where the picture's profile cannot be used.
    """

    def __init__(self, picture: Picture) -> None:
        self.form = Encoding.of(picture)
        self._profile = picture.profile
        self.same = picture.model == "RGBA" and picture.view is picture.pixels
        """Whether the document's own numbers are sRGB in 8 bit: then there is nothing to convert."""
        self._plain = picture.model == "RGBA" and picture.profile is None
        if not self._plain and picture.profile is None:
            raise BadPicture(
                "The picture came without its colour profile.",
                "Convert a copy of it to RGB, and try that.",
                code="profile",
            )
        if not self._plain:
            self(np.zeros((1, 1, 3), np.uint8))

    def __call__(self, colours: U8) -> Floats:
        """(h, w, 3) uint8 sRGB as (h, w, C) float32 in the unit range of the document's encoding."""
        if self._plain:
            return colours.astype(np.float32) * np.float32(1 / 255)
        import imagecodecs  # only for documents that are not sRGB: it takes a tenth of a second

        try:
            converted = imagecodecs.cms_transform(
                np.ascontiguousarray(colours),
                imagecodecs.cms_profile("srgb"),
                self._profile or b"",
                colorspace="rgb",
                outcolorspace=_LCMS_NAMES[self.form.model],
                outdtype=np.uint16,
                intent=PERCEPTUAL,
            )
        except (RuntimeError, ValueError) as problem:
            raise BadPicture(
                "The document's colour profile cannot be used.",
                "Convert a copy of it to RGB, and try that.",
                code="profile",
            ) from problem
        unit = np.asarray(converted).reshape(*colours.shape[:2], self.form.channels).astype(np.float32)
        return unit * np.float32(1 / DEEP)

    def steepness(self, colours: Floats) -> Floats | float:
        """How much a step of grey in sRGB changes the document's numbers there: 1 where they are sRGB.

        colours: (h, w, C) in the unit range. In a linear document noise in the shadows counts for little, in the
        lights for much. Returns (h, w) float32.
        """
        if self._plain:
            return 1.0
        ramp = np.repeat(np.arange(RAMP, dtype=np.uint8)[None, :, None], 3, 2)
        greys = self(ramp)[0]
        slope = floats(np.sqrt((np.gradient(greys, axis=0) ** 2).sum(1) / ramp.shape[2])) * (RAMP - 1)
        light = greys @ (np.ptp(greys, axis=0) * np.sign(greys[-1] - greys[0]))
        order = np.argsort(light, kind="stable")
        here = colours @ (np.ptp(greys, axis=0) * np.sign(greys[-1] - greys[0]))
        return floats(_numpy.interp(here, light[order], slope[order]))
