"""Colour profiles: whether one fits a picture, and what the picture looks like in sRGB."""

import struct
from functools import cache
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from bridge.picture import Picture

U8 = NDArray[np.uint8]
Samples = NDArray[Any]
"""(H, W, n) uint8 or uint16."""
Space = Literal["GREY", "RGB", "CMYK", "LAB"]

STEPS = 9
HEADER = 128
MADE_AT = 24
"""Where in a profile the time of its making stands."""
NO_DAY = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
"""Of no day in particular: with the time of saving in it, the same layers would never give the same file."""
_SIGNATURES: dict[bytes, str] = {b"GRAY": "grey", b"RGB ": "RGB", b"CMYK": "CMYK", b"Lab ": "Lab"}
_TOLD: dict[Space, str] = {"GREY": "grey", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
_LCMS_NAMES: dict[Space, str] = {"GREY": "gray", "RGB": "rgb", "CMYK": "cmyk", "LAB": "lab"}
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
"""The kinds of profile that describe a picture's colours; device links, abstract and named colours do not,
but that the profile of Lab itself is an abstract one."""
RELATIVE, PERCEPTUAL = 1, 0
BLACK_POINT = 0x2000
"""Little CMS's flag for black point compensation."""


def why_not(profile: bytes, space: Space) -> str | None:
    """Why the ICC `profile` does not say what colours of `space` mean, as the end of a sentence; None where it does."""
    if len(profile) < HEADER or profile[36:40] != b"acsp" or int.from_bytes(profile[:4], "big") > len(profile):
        return "it is damaged"
    if profile[12:16] not in _CLASSES and not (space == "LAB" and profile[12:16] == b"abst"):
        return "it describes no picture's colours"
    if _SIGNATURES.get(profile[16:20]) != _TOLD[space]:
        kind = _SIGNATURES.get(profile[16:20], "other")
        return f"it is for {kind} colours, and the picture is {_TOLD[space]}"
    probe = np.zeros((1, 1, len(_channels(space))), np.uint8)
    if to_srgb(probe, space, profile) is None:
        return "it is damaged"
    return None


def works_both_ways(profile: bytes) -> bool:
    """Whether colours can be brought into that RGB profile too; scanners' and cameras' often only lead out of it."""
    probe = np.zeros((1, 1, 3), np.uint8)
    return _transformed(probe, "RGB", srgb(), "RGB", profile, np.uint16, PERCEPTUAL, 0) is not None


def to_srgb(samples: Samples, space: Space, profile: bytes, dtype: Any = None) -> Samples | None:
    """Colours in sRGB, or None where the profile is damaged or of another colour model.

    samples: (H, W, n) uint8 or uint16 without alpha. Returns (H, W, 3), of the same dtype or of `dtype`.
    """
    return _transformed(samples, space, profile, "RGB", srgb(), dtype or samples.dtype, RELATIVE, BLACK_POINT)


def looks_like_srgb(profile: bytes) -> bool:
    """Does the profile change no colour by more than 1 of 255? Then its pixels are their own sRGB view."""
    values = np.linspace(0, 255, STEPS).round().astype(np.uint8)
    cube: U8 = np.stack(np.meshgrid(values, values, values), -1).reshape(STEPS, -1, 3)
    seen = to_srgb(cube, "RGB", profile)
    return seen is not None and int(np.abs(seen.astype(int) - cube).max()) <= 1


def profile_to_write(picture: Picture) -> bytes | None:
    """The profile that files of the picture's layers carry, None for none.

    With 16 bits sRGB is written too: without it Krita asks for a profile when it opens a PNG, and takes a PSD for
    linear.
    """
    return srgb() if picture.profile is None and picture.pixels.dtype != np.uint8 else picture.profile


@cache
def lab() -> bytes:
    """The profile of CIE L*a*b* with D50, which is what PSD and TIFF mean by Lab."""
    return _made("LAB")


@cache
def srgb() -> bytes:
    """The profile of sRGB, always the same bytes."""
    return _made("sRGB")


def _transformed(
    samples: Samples,
    space: Space,
    profile: bytes,
    out_space: Space,
    out_profile: bytes,
    dtype: Any,
    intent: int,
    flags: int,
) -> Samples | None:
    import imagecodecs  # only for pictures that are not sRGB: it takes a tenth of a second

    flat = np.ascontiguousarray(samples)
    try:
        converted = imagecodecs.cms_transform(
            flat[..., 0] if space == "GREY" else flat,
            profile,
            out_profile,
            colorspace=_LCMS_NAMES[space],
            outcolorspace=_LCMS_NAMES[out_space],
            outdtype=dtype,
            intent=intent,
            flags=flags,
        )
    except (RuntimeError, ValueError):
        return None
    return np.asarray(converted).reshape(*samples.shape[:2], len(_channels(out_space)))


def _channels(space: Space) -> str:
    return {"GREY": "L", "LAB": "Lab"}.get(space, space)


def _made(space: Literal["sRGB", "LAB"]) -> bytes:
    # its type is littleCMS's own, which nobody has described
    made = cast(Any, ImageCms.createProfile(space))  # pyright: ignore[reportUnknownMemberType]
    profile = ImageCms.ImageCmsProfile(made).tobytes()
    return profile[:MADE_AT] + NO_DAY + profile[MADE_AT + len(NO_DAY) :]
