"""Opens PNG, JPEG, WebP, GIF, AVIF, TIFF and BMP: of several pages or frames the first full one, upright."""

import struct
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError, features

from bridge.errors import BadPicture
from bridge.files import tiff
from bridge.files.bounded import Bounded, size_of
from bridge.files.colour import Samples, Space
from bridge.files.frames import gif_frames, is_lossless_webp, note_of, webp_size
from bridge.files.kinds import START, is_bare_bitmap
from bridge.files.png_stream import check_stream
from bridge.files.raster import Raster, turned
from bridge.files.room import room
from bridge.files.tiff_pages import chosen_page
from bridge.limits import check_picture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", *(("AVIF",) if features.check("avif") else ()))
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24
"""Where a PNG file says how many bits a sample has; the colour type comes after it."""
PNG_COLOURS = {2: 3, 6: 4}
"""Channels of RGB and of RGBA, by their colour types."""
HEAD = 24 * 2**20
"""Bytes that a file may have before its pixels: its profile, its descriptions, a preview."""
GIF_HEAD = 2**20
"""A GIF has neither, and its remarks are put together 255 bytes at a time."""
WHOLE = 512 * 2**20
"""Bytes of the files that are read whole before anything is known of them."""
SPARE = 16 * 2**20
"""Bytes that a file may have beyond what its pixels need unpacked."""
ORIENTATION = 274
LARGEST_LOSSLESS_WEBP = 85_000_000
"""Pixels: its decoder keeps a copy, and no picture shall take more memory than half as much again as the largest."""
ROWS = 256
"""Rows that are copied at a time."""
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 2**20
"""Printers' and scanners' profiles unpack to more than the megabyte that Pillow allows before it refuses the file."""


def open_image(file: BinaryIO, name: str) -> Raster:
    """The picture in an open file, its size checked before its pixels are decoded.

    Raises BadPicture, UnidentifiedImageError where it is of no kind known here, and whatever decoders raise for what is
    damaged.
    """
    start = file.read(START)
    file.seek(0)
    if is_tiff(start):
        return _open_tiff(file, name)
    claimed = webp_size(start) if start.startswith(b"RIFF") else None
    if claimed:  # before its decoder is made, which takes room for it
        check_picture(*claimed)
    bounded = Bounded(file, _budget(start, file), name)
    # only where there is more to know it by than its first byte
    formats = ("DIB",) if is_bare_bitmap(start) else FORMATS
    image = Image.open(cast(BinaryIO, bounded), formats=formats)
    check_picture(image.width, image.height)
    if start.startswith(PNG_START) and start[PNG_DEPTH] > 8:
        return _open_deep_png(file, image, PNG_COLOURS.get(start[PNG_DEPTH + 1], 0), name)
    notes = (*_frames(file, image), *_depth_lost(start))
    bounded.allow(_unpacked(image, 4))
    if image.format == "WEBP" and _frame_count(image) == 1:
        return _open_webp(bounded, image, notes)
    return raster_of(image, notes)


def is_tiff(start: bytes) -> bool:
    return start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def raster_of(image: Image.Image, notes: tuple[str, ...] = ()) -> Raster:
    """An image of 8 bits a channel, upright by EXIF's orientation alone: no program turns by XMP's."""
    samples, space = _samples(image)
    # Pillow turns TIFF files as it loads them
    upright = samples if image.format == "TIFF" else turned(samples, _orientation(image))
    return Raster(upright, space, _profile(image), dpi_of(image.info.get("dpi")), notes)


def dpi_of(told: Any) -> float:
    """Pixels per inch of what a file tells; 72 where that is nothing sensible."""
    try:
        dpi = float(told[0])
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, struct.error):
        return 72.0
    return dpi if 1 <= dpi <= 10_000 else 72.0


def forget_xmp(image: ImageFile.ImageFile) -> None:
    """Keep Pillow from turning the image by its XMP while it loads it."""
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)


def _budget(start: bytes, file: BinaryIO) -> int:
    if start.startswith(b"GIF8"):
        return GIF_HEAD
    if start[4:8] == b"ftyp" or start.startswith(b"RIFF"):
        return min(2 * size_of(file), WHOLE) + HEAD  # each is read whole, after a look at its beginning
    return HEAD


def _unpacked(image: Image.Image, pixel_size: int) -> int:
    return image.width * image.height * pixel_size + image.height + SPARE


def _open_tiff(file: BinaryIO, name: str) -> Raster:
    page, notes = chosen_page(file, name)
    if tiff.for_pillow(page):
        file.seek(0)
        try:
            image = Image.open(file, formats=("TIFF",))
            image.seek(page.index)
        except (UnidentifiedImageError, EOFError):
            pass  # channels in a number that Pillow has no name for
        else:
            forget_xmp(image)
            check_picture(image.width, image.height)
            return raster_of(image, notes)
    raster = tiff.open_page(file, page, name)
    return Raster(raster.samples, raster.space, raster.profile, raster.dpi, (*notes, *raster.notes))


def _open_deep_png(file: BinaryIO, image: ImageFile.ImageFile, channels: int, name: str) -> Raster:
    """A PNG of 16 bits a channel, which Pillow opens as 8. channels: of RGB or RGBA, else 0."""
    import imagecodecs

    check_picture(image.width, image.height, 8)
    file.seek(0)
    data = Bounded(file, _unpacked(image, 8), name).read()
    check_stream(data, _unpacked(image, 8), name)
    # not where the decoder would add alpha
    straight = channels and "transparency" not in image.info
    out = room((image.height, image.width, channels), np.uint16) if straight else None
    try:
        samples = np.asarray(imagecodecs.png_decode(data, out=out))
    except (RuntimeError, ValueError) as problem:
        raise BadPicture(f"{name} is damaged and cannot be opened.", "Get a complete copy of the picture.") from problem
    samples = samples.reshape(image.height, image.width, -1)
    space: Space = "GREY" if samples.shape[2] < 3 else "RGB"
    upright = turned(samples, _orientation(image))
    return Raster(upright, space, _profile(image), dpi_of(image.info.get("dpi")), note_of(_frame_count(image)))


def _open_webp(bounded: Bounded, image: ImageFile.ImageFile, notes: tuple[str, ...]) -> Raster:
    """A WebP of one frame. Pillow would take the memory of four: two for animations, one for bytes, and its own."""
    import imagecodecs

    if image.width * image.height > LARGEST_LOSSLESS_WEBP and is_lossless_webp(cast(BinaryIO, bounded)):
        raise BadPicture(
            f"The picture is {image.width}×{image.height} pixels: too large for a WebP packed without loss.",
            "Save it as PNG, which takes less memory to open.",
        )
    bounded.seek(0)
    samples = room((image.height, image.width, 4))
    imagecodecs.webp_decode(bounded.read(), hasalpha=True, out=samples)
    return Raster(turned(samples, _orientation(image)), "RGB", _profile(image), dpi_of(image.info.get("dpi")), notes)


def _frames(file: BinaryIO, image: ImageFile.ImageFile) -> tuple[str, ...]:
    """What is said of an animation."""
    if image.format != "GIF":
        return note_of(_frame_count(image))
    at = file.tell()
    count = gif_frames(file)
    file.seek(at)
    return note_of(count)


def _frame_count(image: ImageFile.ImageFile) -> int:
    return cast(int, getattr(image, "n_frames", 1))


def _depth_lost(start: bytes) -> tuple[str, ...]:
    """AVIF of 10 or 12 bits, which Pillow opens as 8: its configuration says so in the third byte."""
    at = start.find(b"av1C")
    if start[4:8] != b"ftyp" or at < 0 or not start[at + 6 : at + 7] or not start[at + 6] & 0x40:
        return ()
    return ("The picture has more than 8 bits per channel, and 8 were taken. Take it apart in Krita to keep them.",)


def _samples(image: Image.Image) -> tuple[Samples, Space]:
    """(H, W, n) uint8, as a Raster wants them."""
    see_through = "transparency" in image.info
    if image.mode == "L" and not see_through:
        return _in_place(image), "GREY"
    if image.mode in ("1", "L", "LA"):
        return _array(image, "LA" if image.mode == "LA" or see_through else "L"), "GREY"
    if image.mode == "CMYK":
        return _in_place(image), "CMYK"
    if image.mode == "LAB":
        lab = _array(image, "LAB")
        lab[..., 1:] ^= 0x80  # Pillow hands a and b out as signed numbers; in a profile's their middle is 128
        return lab, "LAB"
    if image.mode in ("RGB", "RGBX") and not see_through:
        samples = _in_place(image)
        samples[..., 3] = 255  # Pillow says nothing of the byte beside the three
        return samples, "RGB"
    if image.mode == "RGBA":
        return _in_place(image), "RGB"
    if image.mode in ("YCbCr", "HSV") and not see_through:
        return _array(image, "RGB"), "RGB"
    return _array(image, "RGBA"), "RGB"


def _in_place(image: Image.Image) -> Samples:
    """The pixels as Pillow has them, four bytes each, or one where they are grey; decoded where they stay, if need be.

    Pillow would decode them to a place of its own, from where they would have to be copied.
    """
    if image.format == "TIFF" and cast(Any, image).tag_v2.get(ORIENTATION, 1) != 1:
        image.load()  # it turns it, and is decoded in another size
    if getattr(image, "_im", True) is not None:  # it has been loaded
        return _array(image, "RGBA" if image.mode in ("RGB", "RGBX") else image.mode)
    samples = room((image.height, image.width, 1 if image.mode == "L" else 4))
    core: Any = Image.core  # the same by which Image.frombuffer shares memory
    image.im = mapped = core.map_buffer(samples, image.size, "raw", 0, (image.mode, 0, 1))
    mode, size = image.mode, image.size
    image.load()
    if image.im is not mapped or (image.mode, image.size) != (mode, size):  # turned or converted on the way
        return _array(image, "RGBA" if image.mode in ("RGB", "RGBX") else image.mode)
    return samples


def _array(image: Image.Image, mode: str) -> Samples:
    """The image in that mode, some rows at a time: Pillow would copy a large one three times, and fill the memory."""
    out = np.empty((image.height, image.width, Image.getmodebands(mode)), np.uint8)
    for top in range(0, image.height, ROWS):
        some = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        out[top : top + ROWS] = np.asarray(some.convert(mode)).reshape(some.height, some.width, -1)
    return out


def _profile(image: Image.Image) -> bytes | None:
    """The profile in the file; empty where there is one that Pillow could not read."""
    if "icc_profile" not in image.info:
        return None
    profile: Any = image.info["icc_profile"]
    return profile if isinstance(profile, bytes) else b""


def _orientation(image: Image.Image) -> int:
    """What EXIF says, 1 where it says nothing. Pillow's own reading would take XMP's word where EXIF has none."""
    exif = Image.Exif()
    try:
        raw = image.info.get("exif")
        if raw is None and "Raw profile type exif" in image.info:  # as ImageMagick writes it into a PNG
            raw = bytes.fromhex("".join(str(image.info["Raw profile type exif"]).split("\n")[3:]))
        if raw:
            exif.load(raw)
        found: Any = exif.get(ORIENTATION, 1)
        return int(found)
    except Exception:  # a damaged description is none
        return 1
