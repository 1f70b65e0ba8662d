"""Opens a picture file as a Picture: RGBA in 8 or 16 bits a channel, turned upright, with its profile."""

import errno
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from bridge.errors import BadPicture, UnflattenError
from bridge.files.image_file import open_image
from bridge.files.kinds import START, TAKEN, check_is_file, check_kind
from bridge.files.raster import Raster, picture_of
from bridge.limits import MAX_PIXELS
from bridge.picture import Picture

MAX_FILE = 2 * 2**30
LOST = frozenset(getattr(errno, name) for name in ("EIO", "ESTALE", "ENODEV", "ENXIO") if hasattr(errno, name))
"""What a disk or a network says that has gone away; decoders raise other numbers for files that are damaged."""


def load_picture(path: Path) -> Picture:
    """The picture in `path`: PNG, JPEG, WebP, GIF, AVIF, TIFF or BMP, the merged image of a PSD, PSB, ORA or KRA.

    An RGB picture keeps its pixels, in 8 or 16 bits, and its profile; a grey, palette, CMYK or Lab one becomes sRGB, by
    its profile where it has one. What of the file was not taken stands in the picture's notes. Raises BadPicture,
    before pixels are allocated, for what is no picture, damaged or too large.
    """
    check_is_file(path)
    try:
        with _readable(path) as file, warnings.catch_warnings():
            # Pillow's own size warning comes below our limit, and its refusal above: ours says what to do.
            warnings.simplefilter("ignore")
            return picture_of(_open(file, path.name))
    except (UnflattenError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadPicture(
            f"{path.name} is too large to be split.", f"Scale it down to at most {MAX_PIXELS // 1_000_000} megapixels."
        ) from None
    except UnidentifiedImageError:
        raise BadPicture(f"{path.name} is not a picture that can be opened here.", f"Taken are {TAKEN}.") from None
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in LOST:
            raise _unreadable(path, problem) from None
        # Decoders meet a damaged file with anything from struct.error to IndexError.
        raise BadPicture(
            f"{path.name} is damaged and cannot be opened.", "Open it in Krita, save it anew, and try that copy."
        ) from problem


def _readable(path: Path) -> BinaryIO:
    """The file, open, or a sentence that says why not."""
    try:
        return open(path, "rb")
    except PermissionError:
        raise BadPicture(f"{path.name} may not be read.", "Change its permissions, or copy it elsewhere.") from None
    except OSError as problem:
        raise _unreadable(path, problem) from None


def _unreadable(path: Path, problem: OSError) -> BadPicture:
    return BadPicture(f"{path.name} could not be read: {problem.strerror}.", "Is its disk still there?")


def _open(file: BinaryIO, name: str) -> Raster:
    """What the file holds, its size checked before its pixels are decoded."""
    size = file.seek(0, 2)
    file.seek(0)
    if size > MAX_FILE:
        raise BadPicture(f"{name} is larger than 2 GB.", "Save a flat copy of it, as PNG for example.")
    start = file.read(START)
    file.seek(0)
    if not start:
        raise BadPicture(f"{name} is empty: it holds no bytes.", "Get a complete copy of the picture.")
    check_kind(start, name)
    if start.startswith(b"8BPS"):
        from bridge.files.psd_merged import open_psd  # its library takes a tenth of a second

        return open_psd(file, name)
    if start.startswith(b"PK"):
        from bridge.files.merged import open_merged

        return open_merged(file, name)
    return open_image(file, name)
