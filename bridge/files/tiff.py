"""TIFF pages that Pillow does not open as they are: more than 8 bits a channel, and alpha beside CMYK or Lab."""

import mmap
import struct
from typing import BinaryIO

import numpy as np

from bridge.errors import BadPicture
from bridge.files.colour import Samples, Space
from bridge.files.raster import COLOURS, Raster, sixteen_bits, straight, turned
from bridge.files.room import room
from bridge.files.tiff_pages import (
    BITS,
    EXTRA,
    FORMAT,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    UNIT,
    X_RESOLUTION,
    Page,
)

LOWER_IT = "Convert it to 8 or 16 bits per channel, or take it apart in Krita, which keeps its depth."
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, CIELAB, ICCLAB = 0, 1, 2, 5, 8, 9
_SPACES: dict[int, Space] = {
    WHITE_IS_ZERO: "GREY",
    BLACK_IS_ZERO: "GREY",
    RGB: "RGB",
    CMYK: "CMYK",
    CIELAB: "LAB",
    ICCLAB: "LAB",
}
UNSIGNED, FLOAT = 1, 3
PREMULTIPLIED, STRAIGHT = 1, 2
CENTIMETRE = 3
MOST_PROFILE = 16 * 2**20


def for_pillow(page: Page) -> bool:
    """Whether Pillow opens that page without losing anything of it."""
    if page.number(PHOTOMETRIC) == ICCLAB:
        return False
    return page.bits <= 8 and not (page.number(PHOTOMETRIC) in (CMYK, CIELAB) and page.samples > _colours(page))


def open_page(file: BinaryIO, page: Page, name: str) -> Raster:
    """The page's samples, upright. file: a real one, with a number. Raises BadPicture."""
    space = _SPACES.get(page.number(PHOTOMETRIC))
    if space is None:
        raise BadPicture(
            f"{name} has colours of a kind that is not taken here.", "Open it in Krita and export it as PNG."
        )
    _check_depth(page, name)
    samples, told = _in_range(_decoded(file, page, name), page)
    samples, also = _with_alpha(samples, page)
    samples = _as_icc_counts(samples, page)
    upright = turned(samples, page.number(ORIENTATION, 1))
    return Raster(upright, space, _profile(file, page), _dpi(page), (*told, *also))


def _check_depth(page: Page, name: str) -> None:
    depths, kinds = set(page.numbers.get(BITS, (1,))), set(page.numbers.get(FORMAT, (UNSIGNED,)))
    taken = (kinds == {UNSIGNED} and depths in ({8}, {16})) or (kinds == {FLOAT} and depths in ({16}, {32}, {64}))
    if taken:
        return
    if kinds - {UNSIGNED, FLOAT, 4}:
        raise BadPicture(f"{name} counts below zero, which no picture for people does.", LOWER_IT)
    raise BadPicture(f"{name} has {page.bits} bits per channel, which is not taken here.", LOWER_IT)


def _decoded(file: BinaryIO, page: Page, name: str) -> Samples:
    """The samples as they lie in the file, (H, W, n)."""
    import imagecodecs

    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
        if page.number(PHOTOMETRIC) in (CMYK, CIELAB, ICCLAB):
            # The decoder turns these into RGB and drops alpha. Told that they are grey, it leaves them as they are.
            # Only this copy in memory is changed.
            data[page.photometric_at : page.photometric_at + 2] = struct.pack(page.order + "H", BLACK_IS_ZERO)
        try:
            samples = np.asarray(imagecodecs.tiff_decode(data, index=page.index, out=_room(page)))
        except (RuntimeError, ValueError) as problem:
            raise BadPicture(
                f"{name} is damaged, or packed in a way that is not taken here.",
                "Open it in Krita and export it as PNG.",
            ) from problem
    if page.number(PLANAR, 1) == 2 and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, -1)
    samples = samples.reshape(page.height, page.width, page.samples)
    if page.number(PHOTOMETRIC) == WHITE_IS_ZERO and samples.dtype.kind == "u":
        samples = np.iinfo(samples.dtype).max - samples
    return samples


def _room(page: Page) -> Samples | None:
    """Where the samples of a page go that has them as they are kept; None for other pages."""
    if page.number(PLANAR, 1) == 2 or page.samples == 1 or page.bits not in (8, 16) or FORMAT in page.numbers:
        return None
    return room((page.height, page.width, page.samples), np.uint8 if page.bits == 8 else np.uint16)


def _in_range(samples: Samples, page: Page) -> tuple[Samples, tuple[str, ...]]:
    """Floating point as 16 bits, and what is said of it."""
    if samples.dtype.kind != "f":
        return samples, ()
    return sixteen_bits(samples), (float_note(page.bits),)


def float_note(bits: int) -> str:
    return (
        f"The picture has {bits}-bit floating point channels: its numbers from 0 to 1 were taken in 16 bits, and the "
        "layers are written so. Take it apart in Krita to keep its depth."
    )


def _with_alpha(samples: Samples, page: Page) -> tuple[Samples, tuple[str, ...]]:
    """Colours and straight alpha; what other channels there are is left out and told."""
    colours = _colours(page)
    extra = page.numbers.get(EXTRA, ())[: page.samples - colours]
    at = next((n for n, kind in enumerate(extra) if kind in (PREMULTIPLIED, STRAIGHT)), None)
    others = page.samples - colours - (at is not None)
    which = "A channel beside the colours was" if others == 1 else f"{others} channels beside the colours were"
    told = (f"{which} left out: not marked as transparency.",) if others else ()
    if at is None:
        return samples[..., :colours], told
    chosen = samples if page.samples == colours + 1 else samples[..., [*range(colours), colours + at]]
    return (straight(chosen, colours) if extra[at] == PREMULTIPLIED else chosen), told


def _as_icc_counts(samples: Samples, page: Page) -> Samples:
    """TIFF's a and b count up and down from 0; in a profile's numbers they have their zero in the middle."""
    if page.number(PHOTOMETRIC) != CIELAB:
        return samples
    out = np.array(samples)
    if out.dtype == np.uint8:
        out[..., 1:3] ^= 0x80
    else:
        around_zero = out[..., 1:3].view(np.int16).astype(np.int32)
        out[..., 1:3] = np.clip((around_zero + 0x8000) * 257 // 256, 0, 0xFFFF)
    return out


def _colours(page: Page) -> int:
    space = _SPACES.get(page.number(PHOTOMETRIC))
    return COLOURS[space] if space else page.samples


def _profile(file: BinaryIO, page: Page) -> bytes | None:
    if page.profile_at is None:
        return None
    place, nbytes = page.profile_at
    file.seek(place)
    return file.read(min(nbytes, MOST_PROFILE))


def _dpi(page: Page) -> float:
    above, below = (*page.numbers.get(X_RESOLUTION, ()), 0, 0)[:2]
    dpi = above / below * (2.54 if page.number(UNIT, 2) == CENTIMETRE else 1) if below else 0.0
    return dpi if 1 <= dpi <= 10_000 else 72.0
