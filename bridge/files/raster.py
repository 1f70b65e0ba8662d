"""What a file holds, before it is a Picture: samples of any colour model in 8 or 16 bits, and what becomes of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bridge.files.colour import Samples, Space, lab, looks_like_srgb, to_srgb, why_not, works_both_ways
from bridge.files.room import copied, room, strips
from bridge.picture import Picture

COLOURS: dict[Space, int] = {"GREY": 1, "RGB": 3, "CMYK": 4, "LAB": 3}
"""Channels of each colour model."""
STEP_16 = 257
"""65535 / 255: what a step of 8 bits is in 16."""


@dataclass(frozen=True)
class Raster:
    """A picture as its file holds it.

    samples: (H, W, n) uint8 or uint16: the colours of `space`, and straight alpha after them where there is one. In
    CMYK 0 is no ink; in Lab a and b have their zero in the middle, as in ICC profiles. profile: as it lies in the file,
    b"" for one that is damaged beyond reading. dpi: pixels per inch. notes: sentences for the user.
    """

    samples: Samples
    space: Space
    profile: bytes | None = None
    dpi: float = 72.0
    notes: tuple[str, ...] = ()

    @property
    def colours(self) -> Samples:
        return self.samples[..., : COLOURS[self.space]]

    @property
    def alpha(self) -> Samples | None:
        """(H, W, 1), or None."""
        count = COLOURS[self.space]
        return self.samples[..., count : count + 1] if self.samples.shape[2] > count else None


def picture_of(raster: Raster) -> Picture:
    """The Picture: RGBA in 8 or 16 bits.

    RGB keeps its numbers and its profile; other colour models become sRGB, by their profile where it fits. A profile
    that does not fit is left out, with a note, as Krita and GIMP leave it out.
    """
    profile, notes = raster.profile, list(raster.notes)
    problem = None if profile is None else why_not(profile, raster.space)
    if problem:
        how = "without one" if raster.space in ("CMYK", "LAB") else "as sRGB"
        notes.append(f"The picture's colour profile was left out, since {problem}. The picture was opened {how}.")
        profile = None
    if raster.space == "RGB" and (profile is None or works_both_ways(profile)):
        pixels = raster.samples if raster.samples.shape[2] == 4 else with_alpha(raster.colours, raster.alpha)
    else:
        if raster.space == "RGB":
            notes.append("The picture was converted to sRGB, since its colour profile cannot take colours back.")
        pixels, profile = _as_srgb(raster, profile), None
    return Picture(pixels, profile=profile, view=_view(pixels, profile), dpi=raster.dpi, notes=tuple(notes))


def _view(pixels: Samples, profile: bytes | None) -> Any:
    """RGBA pixels in 8-bit sRGB; None where they are that themselves."""
    if profile is None or looks_like_srgb(profile):
        return None if pixels.dtype == np.uint8 else eight_bits(pixels)
    view = room((*pixels.shape[:2], 4))
    for rows in strips(pixels):
        seen = to_srgb(pixels[rows, :, :3], "RGB", profile, np.uint8)
        if seen is None:
            return None
        view[rows, :, :3] = seen
        view[rows, :, 3:] = eight_bits(pixels[rows, :, 3:])
    return view


def _as_srgb(raster: Raster, profile: bytes | None) -> Samples:
    """RGBA with the colours as sRGB."""
    colours, alpha = raster.colours, raster.alpha
    if raster.space == "LAB":
        profile = profile or lab()
    out = room((*colours.shape[:2], 4), colours.dtype)
    for rows in copied(colours):
        seen = to_srgb(colours[rows], raster.space, profile) if profile else None
        if seen is None:
            seen = colours[rows] if raster.space == "GREY" else _without_ink(colours[rows])
        out[rows, :, :3] = seen
        out[rows, :, 3:] = np.iinfo(out.dtype).max if alpha is None else alpha[rows]
    return out


def _without_ink(cmyk: Samples) -> Samples:
    """CMYK that came without a profile: each ink and the black take their share of the light away."""
    full = int(np.iinfo(cmyk.dtype).max)
    light = (full - cmyk[..., 3:]).astype(np.uint32)
    rgb = np.empty((*cmyk.shape[:2], 3), cmyk.dtype)
    for band in range(3):  # one at a time: in wider numbers all three would take a large picture's memory four times
        rgb[..., band] = ((full - cmyk[..., band]) * light[..., 0] + full // 2) // full
    return rgb


def with_alpha(rgb: Samples, alpha: Samples | None) -> Samples:
    """(H, W, 3) and (H, W, 1) as (H, W, 4); opaque where alpha is None. Colours that lie in `room` are given back."""
    joined = room((*rgb.shape[:2], 4), rgb.dtype)
    for rows in copied(rgb):
        joined[rows, :, :3] = rgb[rows]
        joined[rows, :, 3:] = np.iinfo(rgb.dtype).max if alpha is None else alpha[rows]
    return joined


def eight_bits(samples: Samples) -> Samples:
    """uint16 samples as uint8, rounded to the nearest; uint8 ones as they are."""
    if samples.dtype == np.uint8:
        return samples
    out = np.empty(samples.shape, np.uint8)
    for row, some in enumerate(samples):  # a row at a time, which needs no second large array
        out[row] = (some.astype(np.uint32) + STEP_16 // 2) // STEP_16
    return out


def sixteen_bits(samples: Samples) -> Samples:
    """Floating point samples, of which 0 to 1 is the range, as uint16; what lies beyond is cut off, NaN becomes 0."""
    out = np.empty(samples.shape, np.uint16)
    for row, some in enumerate(samples):
        out[row] = np.rint(np.clip(np.nan_to_num(some.astype(np.float64), nan=0.0), 0, 1) * 65535)
    return out


def straight(samples: Samples, colours: int) -> Samples:
    """Premultiplied samples with alpha after `colours` channels, as straight ones."""
    full = int(np.iinfo(samples.dtype).max)
    out = np.array(samples)
    for row in out:
        alpha = row[:, colours : colours + 1].astype(np.uint32)
        divided = (row[:, :colours].astype(np.uint64) * full + alpha // 2) // np.maximum(alpha, 1)
        row[:, :colours] = np.where(alpha > 0, np.minimum(divided, full), 0)
    return out


def without_white(samples: Samples, colours: int) -> Samples:
    """Make straight, in place, what was stored over white, as Photoshop stores a transparent merged image.

    For CMYK as Photoshop counts it, in which white is the largest number too. Returns `samples`.
    """
    full = int(np.iinfo(samples.dtype).max)
    for row in samples:
        alpha = row[:, colours : colours + 1].astype(np.int64)
        divided = (row[:, :colours].astype(np.int64) + alpha - full) * full // np.maximum(alpha, 1)
        row[:, :colours] = np.where(alpha > 0, np.clip(divided, 0, full), row[:, :colours])
    return samples


def lies_over_white(samples: Samples, colours: int) -> bool:
    """Whether samples can have been stored over white: what shows of that is then in every colour.

    Krita stores a PSD's colours as they are, which is told by any pixel that is darker than the white would leave it.
    """
    full = int(np.iinfo(samples.dtype).max)
    slack = full // 255  # a level of 8 bits, for rounding
    for row in samples:
        least = row[:, :colours].min(1).astype(np.int64)
        if bool((least + row[:, colours] < full - slack).any()):
            return False
    return True


def one_colour(samples: Samples, space: Space) -> bool:
    """Whether every pixel shows the same, which they do too where all are transparent."""
    count = COLOURS[space]
    if samples.shape[2] > count and not samples[..., count].any():
        return True
    return all(bool((row == samples[0, 0]).all()) for row in samples)


def turned(samples: Samples, orientation: int) -> Samples:
    """Samples as EXIF's orientation says that they are looked at: 1 as they are, up to 8.

    Samples that lie in `room` and must be turned are given back.
    """
    if orientation not in range(2, 9):
        return np.ascontiguousarray(samples)
    height, width, channels = samples.shape
    if orientation in (5, 6, 7, 8):
        height, width = width, height
    upright = room((height, width, channels), samples.dtype)
    lying = upright[::-1] if orientation in (3, 4, 7, 8) else upright
    if orientation in (2, 3, 6, 7):
        lying = lying[:, ::-1]
    if orientation in (5, 6, 7, 8):
        lying = np.swapaxes(lying, 0, 1)
    for rows in copied(samples):
        lying[rows] = samples[rows]
    return upright
