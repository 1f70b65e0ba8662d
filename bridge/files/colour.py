"""What a picture with its own colour profile looks like in sRGB."""

import io
from functools import cache
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

U8 = NDArray[np.uint8]
STEPS = 9


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """`image` (L, RGB, CMYK or LAB) in sRGB, or None where the profile is damaged or of another colour model."""
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            srgb(),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def looks_like_srgb(profile: bytes) -> bool:
    """Does the profile change no colour by more than 1 of 255? Then its pixels are their own sRGB view."""
    values = np.linspace(0, 255, STEPS).round().astype(np.uint8)
    cube: U8 = np.stack(np.meshgrid(values, values, values), -1).reshape(STEPS, -1, 3)
    seen = to_srgb(Image.fromarray(cube), profile)
    return seen is not None and int(np.abs(np.asarray(seen).astype(int) - cube).max()) <= 1


@cache
def srgb() -> ImageCms.ImageCmsProfile:
    return _made("sRGB")


def lab() -> bytes:
    """The profile of CIE L*a*b* with D50, which is what PSD and TIFF mean by Lab."""
    return _made("LAB").tobytes()


def _made(space: Literal["sRGB", "LAB"]) -> ImageCms.ImageCmsProfile:
    # its type is littleCMS's own, which nobody has described
    made = cast(Any, ImageCms.createProfile(space))  # pyright: ignore[reportUnknownMemberType]
    return ImageCms.ImageCmsProfile(made)
