"""Every colour space that Krita offers with colour and alpha, and random pictures in them."""

import numpy as np
from numpy.typing import NDArray

from bridge.finish.encoding import Encoding, encoding
from bridge.picture import Model, Picture, Pixels

DEPTHS = {"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}
SPACES: list[tuple[Model, str]] = [
    *(("RGBA", depth) for depth in DEPTHS),
    *(("GRAYA", depth) for depth in DEPTHS),
    *(("XYZA", depth) for depth in DEPTHS),
    *(("CMYKA", depth) for depth in ("U8", "U16", "F32")),
    *(("LABA", depth) for depth in ("U8", "U16", "F32")),
    *(("YCbCrA", depth) for depth in ("U8", "U16", "F32")),
]


def form_of(model: Model, depth: str) -> Encoding:
    return encoding(model, DEPTHS[depth])


def random_pixels(
    rng: np.random.Generator, form: Encoding, height: int, width: int, alphas: list[float], brightest: float = 1.0
) -> Pixels:
    """(height, width, C+1); alphas are drawn from those given, colours from 0 to `brightest` of the range."""
    unit = rng.random((height, width, form.channels + 1)).astype(np.float32) * np.float32(brightest)
    unit[..., -1] = rng.choice(np.array(alphas, np.float32), (height, width))
    return form.from_unit(unit)


def picture_of(form: Encoding, pixels: Pixels, profile: bytes | None = None) -> Picture:
    """With a view that shows its transparency, and grey: exactness does not look at it."""
    view: NDArray[np.uint8] = np.full((*pixels.shape[:2], 4), 128, np.uint8)
    view[..., 3] = np.rint(pixels[..., -1].astype(np.float32) * (255 / form.levels))
    return Picture(pixels, model=form.model, profile=profile, view=view)


def tolerance(form: Encoding) -> float:
    """What the design allows a channel to be off by, in the document's own numbers."""
    return 0 if form.integer else 1e-4
