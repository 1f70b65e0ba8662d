"""How large a picture may be: numbers alone, so that the server can refuse one before any byte of it is taken."""

from bridge.errors import BadPicture

MIN_SIDE = 16
MAX_SIDE = 65_535
MAX_PIXELS = 120_000_000
MAX_BYTES = 2**31
"""Of the picture's own pixels: at 32 bits a channel fewer of them fit."""


def check_picture(width: int, height: int, pixel_size: int = 4) -> None:
    """Raise BadPicture where a picture of that many pixels cannot be split, before anything is allocated for it.

    pixel_size: bytes of one pixel.
    """
    if width < 1 or height < 1:
        raise BadPicture("The document is empty.", "Open a picture first.")
    if min(width, height) < MIN_SIDE:
        raise BadPicture(
            f"The picture is {width}×{height} pixels: too small to be split.",
            f"Both sides need at least {MIN_SIDE} pixels.",
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadPicture(
            f"The picture is {width}×{height} pixels: too large to be split.",
            f"Scale it down to at most {MAX_PIXELS // 1_000_000} megapixels.",
        )
    if width * height * pixel_size > MAX_BYTES:
        raise BadPicture(
            f"The picture is {width}×{height} pixels of {pixel_size} bytes each: too large to be split.",
            f"Scale it down to at most {MAX_BYTES // pixel_size // 1_000_000} megapixels, or lower its depth.",
        )
