"""Opens a picture that came from anywhere: its kind and size are looked at before its pixels are made room for."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from bridge.errors import BadPicture, UnflattenError
from bridge.files.colour import U8
from bridge.files.image_file import forget_xmp, is_tiff, raster_of
from bridge.files.raster import picture_of
from bridge.files.tiff_pages import check_page, pages_of
from bridge.limits import MAX_PIXELS, MAX_SIDE, MIN_SIDE

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", *(("AVIF",) if features.check("avif") else ()))
TAKEN = "PNG, JPEG, WebP, GIF, BMP, TIFF and AVIF"
_CODES = ("image_too_small", "image_too_large")
# How files begin that are pictures, but of a kind that is not taken.
_OTHER_KINDS = (
    b"8BPS",
    b"PK\x03\x04",
    b"%PDF",
    b"\x76\x2f\x31\x01",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL ",
    b"\0\0\1\0",
    b"qoif",
)


def open_untrusted(path: Path) -> U8:
    """The picture in `path`, upright, as (H, W, 4) uint8 RGBA in sRGB; of an animation the first frame.

    Raises BadPicture with the code image_too_small, image_too_large, unsupported_image_format or image_load_error.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's own size warning comes below our limit, and its refusal above.
            warnings.simplefilter("ignore")
            _check_tiff(path)
            with Image.open(path, formats=FORMATS) as image:
                _check_size(image.width, image.height)
                forget_xmp(image)
                return np.ascontiguousarray(picture_of(raster_of(_eight_bits(image))).view)
    except (UnflattenError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _too_large() from None
    except UnidentifiedImageError:
        raise _unidentified(path) from None
    except Exception as problem:
        # Decoders meet a damaged file with anything from struct.error to IndexError.
        raise BadPicture(
            "The picture is damaged and cannot be opened.", "Send a whole copy of it.", code="image_load_error"
        ) from problem


def _check_tiff(path: Path) -> None:
    """Refuse a TIFF whose entries or tiles need more memory than its size tells."""
    with open(path, "rb") as file:
        if not is_tiff(file.read(4)):
            return
        try:
            first = next(pages_of(file, "The picture"), None)
            if first:
                _check_size(first.width, first.height)
                check_page(first, "The picture")
        except BadPicture as problem:
            code = problem.code if problem.code in _CODES else "image_load_error"
            raise BadPicture(problem.message, problem.hint, code=code) from None


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise BadPicture(
            f"The picture is {width}×{height} pixels: too small to be split.",
            f"Both sides need at least {MIN_SIDE} pixels.",
            code="image_too_small",
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise _too_large()


def _too_large() -> BadPicture:
    return BadPicture(
        "The picture has too many pixels to be split.",
        f"Scale it down to at most {MAX_PIXELS // 1_000_000} megapixels.",
        code="image_too_large",
    )


def _unidentified(path: Path) -> BadPicture:
    with open(path, "rb") as file:
        start = file.read(32)
    if start.startswith(_OTHER_KINDS) or start[4:8] == b"ftyp" or b"<svg" in start:
        return BadPicture(
            "The picture is of a kind that is not taken here.", f"Taken are {TAKEN}.", code="unsupported_image_format"
        )
    return BadPicture("This is not a picture.", f"Taken are {TAKEN}.", code="image_load_error")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8-bit grey; all other depths Pillow reads as 8 bits by itself. Raises BadPicture."""
    if not image.mode.startswith(("I", "F")):
        return image
    samples = np.asarray(image)
    if samples.dtype.kind == "f" or samples.max(initial=0) > 0xFFFF:
        raise BadPicture(
            "The picture has 32 bits per channel.",
            "Convert it to 8 or 16 bits per channel first.",
            code="unsupported_image_format",
        )
    grey = Image.fromarray((samples.clip(0) >> 8).astype(np.uint8), "L")
    grey.info = image.info
    return grey
