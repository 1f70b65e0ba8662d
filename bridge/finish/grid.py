"""The working grid: a draft's few pixels, placed so that a whole number of the picture's pixels lies in each."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.encoding import Encoding
from bridge.finish.images import MOST_CHANNELS, Floats, resized
from bridge.picture import Kind, Picture, Pixels, Stack

U8 = NDArray[np.uint8]
BAND = 64
"""Working rows taken at a time: what must be converted or padded first stays small."""
ROUND_UP = 0.25
"""A draft that is nearly 3 times smaller is worked on as if it were: models paint no detail as fine as their pixels."""


@dataclass(frozen=True)
class Grid:
    """Working pixel (x, y) holds the picture's pixels step·x … step·x+step−1, and so on for y.

    width, height: in working pixels, even, so that halves fit; the last ones may reach over the picture's edge.
    picture: (width, height).
    """

    step: int
    width: int
    height: int
    picture: tuple[int, int]

    @staticmethod
    def of(draft: Stack, picture: Picture) -> "Grid":
        ratio = min(picture.width / draft.width, picture.height / draft.height)
        step = max(1, int(ratio + ROUND_UP))
        width, height = (2 * -(-side // (2 * step)) for side in (picture.width, picture.height))
        return Grid(step, width, height, (picture.width, picture.height))

    def shrink(self, pixels: Pixels) -> Pixels:
        """The mean of the pixels (H, W, n) in each working pixel, in their own dtype (float16: float32)."""
        count, size = pixels.shape[2], self.step * BAND
        across, means = self.width * self.step - self.picture[0], list[Pixels]()
        for top in range(0, self.height * self.step, size):
            rows = min(size, self.height * self.step - top)
            band = pixels[min(top, self.picture[1] - 1) : top + rows]
            if band.dtype == np.float16:
                band = band.astype(np.float32)
            if across or len(band) < rows:
                band = cv2.copyMakeBorder(band, 0, rows - len(band), 0, across, cv2.BORDER_REPLICATE)
            band = band.reshape(*band.shape[:2], count)  # OpenCV drops a single channel's axis
            means.append(resized(band, self.width, rows // self.step, cv2.INTER_AREA))
        return np.concatenate(means)

    def window(self, area: tuple[slice, slice], width: int, height: int, margin: int) -> tuple[slice, slice]:
        """Rows and columns of the grid that hold `area` of a draft canvas (width × height) and `margin` around."""

        def side(part: slice, draft: int, picture: int, most: int) -> slice:
            scale = picture / (draft * self.step)
            first, last = int(part.start * scale) - margin, int(part.stop * scale) + 1 + margin
            return slice(max(first, 0) // 2 * 2, min(-(-last // 2) * 2, most))

        return (
            side(area[0], height, self.picture[1], self.height),
            side(area[1], width, self.picture[0], self.width),
        )

    def place(
        self, values: Floats, corner: tuple[int, int], width: int, height: int, window: tuple[slice, slice]
    ) -> Floats:
        """A part of a draft canvas (width × height) carried to a window of the grid; around the part is nothing.

        values: (h, w, n) float32; corner: of its upper left (x, y) on that canvas.
        """
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        across, down = self.step * width / self.picture[0], self.step * height / self.picture[1]
        x = across * (window[1].start + 0.5) - 0.5 - corner[0]
        y = down * (window[0].start + 0.5) - 0.5 - corner[1]
        matrix = np.array([[across, 0, x], [0, down, y]], np.float64)
        # Where a part ends at the canvas's own edge it goes on beyond; elsewhere nothing is around it.
        whole = values.shape[:2] == (height, width)
        border = cv2.BORDER_REPLICATE if whole else cv2.BORDER_CONSTANT
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        parts = [
            cv2.warpAffine(np.ascontiguousarray(part), matrix, size, flags=flags, borderMode=border)
            for part in np.split(values, range(MOST_CHANNELS, values.shape[2], MOST_CHANNELS), axis=2)
        ]
        return np.concatenate([part.reshape(size[1], size[0], -1) for part in parts], 2, dtype=np.float32)


@dataclass(frozen=True)
class Plate:
    """A layer on the working grid.

    colour: (h, w, C) float32, unit range of the document's encoding; alpha: (h, w) float32 0–1; left, top: its corner
    on the grid. Everything of the layer lies inside.
    """

    name: str
    kind: Kind
    colour: Floats
    alpha: Floats
    left: int = 0
    top: int = 0

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def coloured(self, colour: Floats) -> "Plate":
        return replace(self, colour=colour)


def small_source(grid: Grid, picture: Picture, form: Encoding) -> Floats:
    """The picture's own colours on the working grid, (h, w, C) float32 in the unit range."""
    unit = form.to_unit(grid.shrink(picture.pixels)[..., :-1])
    if not form.integer:
        np.nan_to_num(unit, copy=False, nan=0, posinf=0, neginf=0)
    return unit
