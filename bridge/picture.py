"""Picture, Layer, Stack: what every part of the bridge hands on to the next."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # uint8, uint16, float16 or float32
Kind = Literal["background", "object", "text", "effect", "detail"]
Model = Literal["RGBA", "GRAYA", "CMYKA", "LABA", "XYZA", "YCbCrA"]


@dataclass(frozen=True)
class Picture:
    """A flat picture.

    pixels: (H, W, C+1) uint8 | uint16 | float16 | float32, straight alpha last, in the document's own colour space and
    encoding.
    view: (H, W, 4) uint8, the same in sRGB RGBA, which is what a splitter sees; `pixels` itself where it is that.
    profile: ICC bytes, or None for sRGB.
    dpi: pixels per inch.
    notes: sentences for the user about what of its file was not taken.
    """

    pixels: Pixels
    model: Model = "RGBA"
    profile: bytes | None = None
    view: NDArray[np.uint8] = field(default=None)  # type: ignore[assignment]  # filled in below
    dpi: float = 72.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.view is None:  # pyright: ignore[reportUnnecessaryComparison]
            if self.model != "RGBA" or self.pixels.dtype != np.uint8 or self.pixels.shape[2:] != (4,):
                raise ValueError("a picture that is not (H, W, 4) uint8 RGBA needs its sRGB view")
            object.__setattr__(self, "view", self.pixels)
        if self.view.shape[:2] != self.pixels.shape[:2]:
            raise ValueError("pixels and view differ in size")

    @property
    def is_opaque(self) -> bool:
        """Whether nothing shows through anywhere."""
        full = np.iinfo(self.pixels.dtype).max if self.pixels.dtype.kind == "u" else 1
        return bool((self.pixels[..., -1] == full).all())

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]


@dataclass(frozen=True)
class Layer:
    """One layer, cropped to what it covers. pixels: (h, w, C+1), straight alpha last; left, top: canvas pixels."""

    name: str
    pixels: Pixels
    left: int = 0
    top: int = 0
    kind: Kind = "object"
    visible: bool = True

    @property
    def rect(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) in canvas pixels."""
        return self.left, self.top, self.pixels.shape[1], self.pixels.shape[0]

    def named(self, name: str) -> "Layer":
        return replace(self, name=name)


@dataclass(frozen=True)
class Stack:
    """Layers back to front on a canvas of width × height pixels.

    A backend's draft may have any size; a finished stack has the Picture's.
    """

    layers: tuple[Layer, ...]
    width: int
    height: int
