"""Files of several pages or frames, previews, and which way up a picture is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.files.opening import opened, refused
from tests.unit.files.samples import TiffPage, animated, deep, saved, tiff
from tests.unit.files.stacks import opaque


@pytest.mark.parametrize("form", ["TIFF", "PNG", "WEBP", "GIF", "AVIF", "MPO"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_first_is_taken_and_the_others_are_told(tmp_path: Path, form: str, count: int) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    picture = opened(tmp_path, animated(form, count, **options))
    if form in ("TIFF", "PNG", "WEBP"):
        np.testing.assert_array_equal(picture.pixels, opaque(0, 40, 50))
    what = "pages" if form == "TIFF" else "frames"
    assert picture.notes == ((f"The first of {count} {what} was taken.",) if count > 1 else ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("marked", [False, True])
def test_a_preview_before_the_picture_is_not_taken(tmp_path: Path, dtype: type, marked: bool) -> None:
    large, small = deep(1, 240, 320, 3).astype(dtype), deep(2, 48, 64, 3).astype(dtype)
    first = TiffPage(small, tags={254: (4, [1])} if marked else {})
    picture = opened(tmp_path, tiff(first, TiffPage(large)))
    np.testing.assert_array_equal(picture.pixels[..., :3], large)
    assert picture.notes == (() if marked else ("Page 2 of 2 was taken, since the first is much smaller.",))


def test_a_page_that_says_it_is_a_preview_is_not_taken_however_large(tmp_path: Path) -> None:
    one, other = opaque(1, 40, 50)[..., :3], opaque(2, 40, 50)[..., :3]
    picture = opened(tmp_path, tiff(TiffPage(one, tags={254: (4, [1])}), TiffPage(other)))
    np.testing.assert_array_equal(picture.pixels[..., :3], other)


def test_pages_of_about_one_size_are_not_taken_for_previews(tmp_path: Path) -> None:
    one, other = opaque(1, 40, 50)[..., :3], opaque(2, 60, 70)[..., :3]
    picture = opened(tmp_path, tiff(TiffPage(one), TiffPage(other)))
    np.testing.assert_array_equal(picture.pixels[..., :3], one)
    assert picture.notes == ("The first of 2 pages was taken.",)


def test_a_camera_raw_picture_in_a_tiff_is_refused(tmp_path: Path) -> None:
    page = TiffPage(opaque(1, 40, 50)[..., :3], tags={50706: (3, [1, 4, 0, 0])})
    assert "Export" in refused(tmp_path, tiff(page), "raw").hint


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:'
    b'Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_xmp_turns_nothing(tmp_path: Path, form: str, orientation: int) -> None:
    pixels = opaque(1, 40, 50)[..., :3]
    if form == "TIFF":
        data = tiff(TiffPage(pixels, tags={700: (7, XMP % orientation)}))
    elif form == "PNG":
        from PIL.PngImagePlugin import PngInfo

        told = PngInfo()
        told.add_itxt("XML:com.adobe.xmp", (XMP % orientation).decode())
        data = saved(pixels, form, pnginfo=told)
    else:
        data = saved(pixels, form, xmp=XMP % orientation, **({"lossless": True} if form == "WEBP" else {}))
    picture = opened(tmp_path, data)
    assert (picture.width, picture.height) == (50, 40)
    if form in ("PNG", "WEBP", "TIFF"):
        np.testing.assert_array_equal(picture.pixels[..., :3], pixels)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_turns_the_picture_whatever_xmp_says(tmp_path: Path, form: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    xmp = {"xmp": XMP % 3} if form in ("JPEG", "WEBP") else {}
    picture = opened(tmp_path, saved(opaque(1, 40, 50)[..., :3], form, exif=exif, **xmp))
    assert (picture.width, picture.height) == (40, 50)


def test_an_avif_of_10_bits_is_told(tmp_path: Path) -> None:
    data = bytearray(saved(opaque(1, 40, 50)[..., :3], "AVIF"))
    assert opened(tmp_path, bytes(data)).notes == ()
    imagecodecs = pytest.importorskip("imagecodecs")
    deeper = bytes(imagecodecs.avif_encode(deep(1, 40, 50, 3) >> 6, bitspersample=10))
    assert "more than 8 bits" in opened(tmp_path, deeper).notes[0]
