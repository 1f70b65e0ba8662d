"""Opens a picture file as a Picture: 8 bits a channel, RGBA, turned upright, with its profile."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from bridge.errors import BadPicture, UnflattenError
from bridge.files.colour import U8, lab, looks_like_srgb, to_srgb
from bridge.files.kinds import TAKEN, check_is_file
from bridge.files.psd_merged import merged_image
from bridge.limits import MAX_PIXELS, check_picture
from bridge.picture import Picture

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
MAX_FILE = 2 * 2**30
MERGED = "mergedimage.png"
REMEDY = "Take it apart in Krita, which keeps its depth, or convert it to 8 bits per channel first."
PNG_DEPTH = 24  # where a PNG file says how many bits a sample has
TIFF_DEPTHS = 258  # the tag BitsPerSample
SIXTEEN = "has 16 or more bits per channel, and the command line takes 8"


def load_picture(path: Path) -> Picture:
    """The picture in `path`: PNG, JPEG, WebP, TIFF or BMP, the merged image of a PSD, ORA or KRA.

    An RGB picture keeps its pixels and its profile; a grey, palette, CMYK or Lab one becomes sRGB, by its profile where
    it has one. Raises BadPicture, before pixels are allocated, for what is no picture, damaged, too large or not 8-bit.
    """
    data = _read(path)
    try:
        with warnings.catch_warnings():
            # Pillow's own size warning comes below our limit, and its refusal above: ours says what to do.
            warnings.simplefilter("ignore")
            return as_picture(_open(data, path))
    except UnflattenError:
        raise
    except Image.DecompressionBombError:
        raise BadPicture(
            f"{path.name} is too large to be split.", f"Scale it down to at most {MAX_PIXELS // 1_000_000} megapixels."
        ) from None
    except UnidentifiedImageError:
        raise BadPicture(f"{path.name} is not a picture that can be opened here.", f"Taken are {TAKEN}.") from None
    except Exception as problem:
        # Decoders meet a damaged file with anything from struct.error to IndexError.
        raise BadPicture(
            f"{path.name} is damaged and cannot be opened.", "Open it in Krita, save it anew, and try that copy."
        ) from problem


def _read(path: Path) -> bytes:
    """The file's bytes, or a sentence that says why not."""
    check_is_file(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise BadPicture(f"{path.name} is larger than 2 GB.", "Save a flat copy of it, as PNG for example.")
        data = path.read_bytes()
    except PermissionError:
        raise BadPicture(f"{path.name} may not be read.", "Change its permissions, or copy it elsewhere.") from None
    except OSError as problem:
        raise BadPicture(f"{path.name} could not be read: {problem.strerror}.", "Is its disk still there?") from None
    if not data:
        raise BadPicture(f"{path.name} is empty: it holds no bytes.", "Get a complete copy of the picture.")
    return data


def _open(data: bytes, path: Path) -> Image.Image:
    """The image, its size and depth checked before its pixels are decoded."""
    if data.startswith(b"8BPS"):
        return merged_image(data, path.name)
    if data.startswith(b"PK"):
        data = _merged_in_zip(data, path)
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    check_picture(image.width, image.height)
    if _is_deep(image, data):
        raise BadPicture(f"{path.name} {SIXTEEN}.", REMEDY)
    image.load()
    return image


def _merged_in_zip(data: bytes, path: Path) -> bytes:
    """The flattened picture that ORA and KRA files carry; read no further than a picture within the limits needs."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if MERGED not in archive.namelist():
            raise BadPicture(f"{path.name} holds no flattened picture.", "Open it in Krita and export it as PNG.")
        limit = 5 * MAX_PIXELS
        with archive.open(MERGED) as merged:
            content = merged.read(limit + 1)
    if len(content) > limit:
        raise BadPicture(f"{path.name} is too large to be split.", "Export it as PNG, scaled down.")
    return content


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Has the file more than 8 bits a channel? Pillow opens most of those as 8-bit ones and does not tell."""
    if image.format == "PNG":
        return data[PNG_DEPTH] > 8
    if image.format == "TIFF":
        assert isinstance(image, TiffImageFile)
        depths = cast(tuple[int, ...], image.tag_v2.get(TIFF_DEPTHS, (1,)))
        return max(depths) > 8
    return image.mode.startswith(("I", "F"))


def as_picture(image: Image.Image) -> Picture:
    """An opened image of 8 bits a channel as a Picture, upright. Raises BadPicture for its size."""
    check_picture(image.width, image.height)
    image = ImageOps.exif_transpose(image)
    profile: bytes | None = image.info.get("icc_profile")
    convert = _CONVERSIONS.get(image.mode)
    if convert:
        pixels, profile = convert(image, profile), None
    else:
        pixels = np.array(image.convert("RGBA"))
    view = None if profile is None or looks_like_srgb(profile) else _view(pixels, profile)
    if view is None:
        return Picture(pixels, profile=profile, dpi=_dpi(image))
    return Picture(pixels, profile=profile, view=view, dpi=_dpi(image))


def _view(pixels: U8, profile: bytes) -> U8 | None:
    """RGBA `pixels` in sRGB; None where the profile is damaged, and programs then take them for sRGB."""
    seen = to_srgb(Image.fromarray(pixels[..., :3]), profile)
    return None if seen is None else np.dstack([np.asarray(seen), pixels[..., 3]])


def _from_grey(image: Image.Image, profile: bytes | None) -> U8:
    """Grey, with alpha or without, through its profile where there is one."""
    rgba = image.convert("RGBA")
    seen = to_srgb(image.convert("LA").getchannel("L"), profile) if profile else None
    if seen is not None:
        seen.putalpha(rgba.getchannel("A"))
        rgba = seen
    return np.array(rgba)


def _from_cmyk(image: Image.Image, profile: bytes | None) -> U8:
    seen = to_srgb(image, profile) if profile else None
    return np.array((seen or image.convert("RGB")).convert("RGBA"))


def _from_lab(image: Image.Image, profile: bytes | None) -> U8:
    seen = to_srgb(image, profile or lab()) or to_srgb(image, lab())
    assert seen is not None
    return np.array(seen.convert("RGBA"))


_CONVERSIONS: dict[str, Callable[[Image.Image, bytes | None], U8]] = {
    "1": _from_grey,
    "L": _from_grey,
    "LA": _from_grey,
    "CMYK": _from_cmyk,
    "LAB": _from_lab,
}


def _dpi(image: Image.Image) -> float:
    """Pixels per inch; 72 where the file says nothing sensible."""
    try:
        dpi = float(image.info["dpi"][0])
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, struct.error):
        return 72.0
    return dpi if 1 <= dpi <= 10_000 else 72.0
