"""Profiles that do not fit the picture they come with are left out, and the picture is opened all the same."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from bridge.decompose import check_splittable
from bridge.files.colour import srgb, why_not, works_both_ways
from bridge.files.png import encode
from bridge.finish.colour import ToDocument
from tests.unit.files.opening import opened
from tests.unit.files.samples import GREY, SRGB, WIDE, TiffPage, chunk, deep, deep_png, psd, saved, tiff, with_chunks
from tests.unit.files.stacks import noise, opaque


def of_class(kind: bytes, space: bytes = b"RGB ") -> bytes:
    return WIDE[:12] + kind + space + WIDE[20:]


WRONG = {
    "grey": GREY,
    "Lab": bytes(imagecodecs.cms_profile("lab4")),
    "XYZ": bytes(imagecodecs.cms_profile("xyz")),
    "CMYK": of_class(b"prtr", b"CMYK"),
    "device link": of_class(b"link"),
    "named colour": of_class(b"nmcl"),
    "abstract": of_class(b"abst"),
    "cut": WIDE[:300],
    "cut in its header": WIDE[:60],
    "not a profile": b"not a profile at all" * 20,
    "without its curves": WIDE[:128] + bytes(len(WIDE) - 128),
}


@pytest.mark.parametrize("profile", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "16-bit PNG", "PSD"])
def test_a_profile_that_does_not_fit_is_left_out(tmp_path: Path, profile: bytes, form: str) -> None:
    pixels = opaque(1, 40, 50)
    if form == "16-bit PNG":
        data = deep_png(deep(1, 40, 50), profile)
    elif form == "PSD":
        data = psd([pixels[..., band] for band in range(3)], 3, resources={1039: profile})
    else:
        data = saved(pixels[..., :3], form, icc_profile=profile, **({"lossless": True} if form == "WEBP" else {}))
    picture = opened(tmp_path, data)
    assert picture.profile is None
    (note,) = picture.notes
    assert "profile was left out" in note and "sRGB" in note
    if form not in ("JPEG", "16-bit PNG"):
        np.testing.assert_array_equal(picture.pixels, pixels)
    check_splittable(picture)
    ToDocument(picture)  # which refuses the profiles that cannot be worked with
    encode(picture.pixels, picture)


def test_a_profile_in_pieces_of_which_one_is_missing(tmp_path: Path) -> None:
    jpeg = saved(opaque(1, 40, 50)[..., :3], "JPEG", icc_profile=SRGB + bytes(80_000))
    second = jpeg.index(b"ICC_PROFILE\0\2") - 4
    length = int.from_bytes(jpeg[second + 2 : second + 4], "big") + 2
    picture = opened(tmp_path, jpeg[:second] + jpeg[second + length :])
    assert picture.profile is None and "damaged" in picture.notes[0]


def test_a_profile_that_does_not_unpack(tmp_path: Path) -> None:
    png = with_chunks(saved(opaque(1, 40, 50), "PNG"), chunk(b"iCCP", b"x\0\0not packed"))
    picture = opened(tmp_path, png)
    assert picture.profile is None and "damaged" in picture.notes[0]


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "LAB"])
def test_other_colour_models_with_a_profile_for_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(noise(1, 40, 50)[..., : len(mode) if mode != "L" else 1].squeeze(), mode)
    image.save(tmp_path / "with.tif", icc_profile=WIDE)
    image.save(tmp_path / "without.tif")
    with_it = opened(tmp_path, (tmp_path / "with.tif").read_bytes())
    without = opened(tmp_path, (tmp_path / "without.tif").read_bytes())
    np.testing.assert_array_equal(with_it.pixels, without.pixels)
    assert with_it.profile is None and without.notes == ()
    assert "it is for RGB colours" in with_it.notes[0]


def test_a_profile_that_fits_says_nothing(tmp_path: Path) -> None:
    for profile in (SRGB, WIDE, srgb()):
        picture = opened(tmp_path, saved(opaque(1, 40, 50), "PNG", icc_profile=profile))
        assert picture.profile == profile and picture.notes == ()
    grey = opened(tmp_path, saved(opaque(1, 40, 50)[..., 0], "PNG", icc_profile=GREY))
    assert grey.profile is None and grey.notes == ()


def test_grey_of_16_bits_goes_through_its_profile(tmp_path: Path) -> None:
    linear = bytes(imagecodecs.cms_profile("gray", gamma=1.0))
    samples = np.full((40, 50, 1), 14_000, np.uint16)
    page = TiffPage(samples, 1, tags={34675: (7, linear)})
    assert abs(int(opened(tmp_path, tiff(page)).pixels[0, 0, 0]) - 32_700) < 400


def test_why_not() -> None:
    assert why_not(WIDE, "RGB") is None and why_not(GREY, "GREY") is None
    assert why_not(GREY, "RGB") == "it is for grey colours, and the picture is RGB"
    assert why_not(b"", "RGB") == "it is damaged"
    assert works_both_ways(WIDE) and not works_both_ways(GREY)
    assert srgb() == srgb() and srgb()[24:36] == b"\x07\xd0\0\1\0\1\0\0\0\0\0\0"
