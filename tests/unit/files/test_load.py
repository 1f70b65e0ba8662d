"""What can be opened, what it becomes, and what is refused with which sentence."""

import io
import os
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from bridge.errors import BadPicture
from bridge.files.colour import looks_like_srgb
from bridge.files.load import load_picture
from bridge.limits import MAX_PIXELS
from tests.unit.files.stacks import noise, opaque

ICC = Path("/usr/share/color/icc")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_gamut() -> bytes:
    """A real wide-gamut RGB profile, as Krita and Ghostscript bring them."""
    for name in ("krita/elles-icc-profiles/ClayRGB-elle-V2-g22.icc", "colord/AdobeRGB1998.icc", "ghostscript/a98.icc"):
        for root in (ICC, Path("/usr/share/krita/color/icc")):
            if (root / name).is_file():
                return (root / name).read_bytes()
    found = [
        *ICC.rglob("*dobe*.icc"),
        *ICC.rglob("*ClayRGB*.icc"),
        *Path("/usr/share").glob("**/ClayRGB-elle-V2-g22.icc"),
    ]
    if not found:
        pytest.skip("no wide-gamut profile on this machine")
    return found[0].read_bytes()


@pytest.mark.parametrize("ending", ["png", "webp", "tiff", "bmp", "dib"])
def test_lossless_files_come_in_to_the_byte(tmp_path: Path, ending: str) -> None:
    pixels = opaque(1, 40, 50)
    options: dict[str, Any] = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(pixels if ending not in ("bmp", "dib") else pixels[..., :3]).save(
        tmp_path / f"a.{ending}", **options
    )
    picture = load_picture(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.model == "RGBA"
    assert picture.view is picture.pixels


def test_a_name_may_lie_about_the_kind_of_file(tmp_path: Path) -> None:
    Image.fromarray(opaque(1, 40, 50)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert load_picture(tmp_path / "a.jpg").width == 50


def test_transparency_is_kept_with_the_colours_under_it(tmp_path: Path) -> None:
    pixels = noise(2, 40, 50)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_picture(tmp_path / "a.png").pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (64, 48), "black")
    upright.paste("red", (0, 0, 32, 24))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = load_picture(tmp_path / "a.jpg")
    assert (picture.width, picture.height) == (64, 48)
    assert picture.pixels[4, 4, 0] > 200
    assert picture.pixels[4, 60, 0] < 60
    assert picture.pixels[44, 4, 0] < 60


def test_an_rgb_profile_is_kept_and_the_view_is_what_it_means(tmp_path: Path) -> None:
    pixels = opaque(3, 40, 50)
    pixels[:20] = (0, 200, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=wide_gamut())
    picture = load_picture(tmp_path / "a.png")
    assert picture.profile == wide_gamut()
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert np.abs(picture.view[0, 0].astype(int) - (0, 201, 0, 255)).max() < 12
    assert not np.array_equal(picture.view, pixels)
    np.testing.assert_array_equal(picture.view[..., 3], pixels[..., 3])


def test_an_srgb_profile_leaves_the_pixels_as_their_own_view(tmp_path: Path) -> None:
    Image.fromarray(opaque(3, 40, 50)).save(tmp_path / "a.png", icc_profile=SRGB)
    picture = load_picture(tmp_path / "a.png")
    assert picture.profile == SRGB
    assert picture.view is picture.pixels
    assert looks_like_srgb(SRGB)
    assert not looks_like_srgb(wide_gamut())


def test_a_damaged_profile_does_not_keep_a_picture_out(tmp_path: Path) -> None:
    pixels = opaque(3, 40, 50)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=b"not a profile at all" * 20)
    np.testing.assert_array_equal(load_picture(tmp_path / "a.png").view, pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA"])
def test_grey_and_palette_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.linear_gradient("L").resize((50, 40))
    image = Image.merge("LA", (grey, grey)) if mode == "LA" else grey.convert("L" if mode == "PA" else mode)
    options: dict[str, Any] = {"transparency": 0} if mode == "PA" else {}
    image.convert("P" if mode == "PA" else mode).save(tmp_path / "a.png", **options)
    picture = load_picture(tmp_path / "a.png")
    assert picture.profile is None
    expected = np.array(Image.open(tmp_path / "a.png").convert("RGBA"))
    np.testing.assert_array_equal(picture.pixels, expected)
    if mode == "L":
        assert np.abs(picture.pixels[..., 0].astype(int) - np.array(grey)).max() == 0


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    cmyk = Image.merge("CMYK", [Image.new("L", (50, 40), value) for value in (0, 255, 255, 0)])
    for name in ("a.jpg", "a.tif"):
        cmyk.save(tmp_path / name)
        red = load_picture(tmp_path / name).pixels[20, 20]
        assert red[0] > 200 and red[1] < 60 and red[2] < 60 and red[3] == 255


def test_the_resolution_is_kept(tmp_path: Path) -> None:
    Image.fromarray(opaque(1, 20, 20)).save(tmp_path / "a.png", dpi=(300, 300))
    assert abs(load_picture(tmp_path / "a.png").dpi - 300) < 0.1


def test_the_merged_image_of_a_kra_file_is_taken(tmp_path: Path) -> None:
    merged = io.BytesIO()
    Image.fromarray(opaque(5, 40, 50)).save(merged, "PNG")
    with zipfile.ZipFile(tmp_path / "a.kra", "w") as archive:
        archive.writestr("mimetype", "application/x-krita")
        archive.writestr("mergedimage.png", merged.getvalue())
    np.testing.assert_array_equal(load_picture(tmp_path / "a.kra").pixels, opaque(5, 40, 50))


def refused(path: Path, said: str) -> BadPicture:
    with pytest.raises(BadPicture, match=said) as caught:
        load_picture(path)
    assert caught.value.hint
    assert "Traceback" not in caught.value.message
    return caught.value


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "a.png", "There is no file")
    refused(tmp_path, "is not a file")


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that everybody may enter, and a test that is not root, who may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "a.png").write_bytes(b"x")
        (Path(folder) / "a.png").chmod(0)
        (Path(folder) / "locked").mkdir(mode=0)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        yield Path(folder)
        os.seteuid(was)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps permissions elsewhere")
def test_what_may_not_be_read(as_nobody: Path) -> None:
    refused(as_nobody / "a.png", "may not be read")


def test_an_empty_file_and_one_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    refused(tmp_path / "a.png", "empty")
    (tmp_path / "b.png").write_bytes(b"Dear diary, " * 100)
    refused(tmp_path / "b.png", "not a picture")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tiff", "bmp", "psd", "ora"])
def test_a_truncated_file(tmp_path: Path, ending: str) -> None:
    from bridge.files.openraster import write_openraster
    from bridge.files.psd import write_psd
    from bridge.picture import Layer, Picture, Stack

    pixels = opaque(1, 60, 60)
    stack = Stack((Layer("Background", pixels),), 60, 60)
    path = tmp_path / f"a.{ending}"
    if ending in ("psd", "ora"):
        (write_psd if ending == "psd" else write_openraster)(stack, Picture(pixels), path)
    else:
        Image.fromarray(pixels[..., :3]).save(path)
    whole = path.read_bytes()
    for share in (0.05, 0.3, 0.6):
        path.write_bytes(whole[: max(12, int(len(whole) * share))])
        refused(path, "damaged|not a picture")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["png", "jpg", "webp", "tiff", "bmp", "psd", "ora"]), st.data())
def test_a_file_with_wrong_bytes_opens_or_is_refused_and_never_breaks(
    tmp_path: Path, ending: str, data: st.DataObject
) -> None:
    from bridge.files.openraster import write_openraster
    from bridge.files.psd import write_psd
    from bridge.picture import Layer, Picture, Stack

    path = tmp_path / f"a.{ending}"
    pixels = opaque(1, 20, 20)
    stack = Stack((Layer("Background", pixels),), 20, 20)
    if ending in ("psd", "ora"):
        (write_psd if ending == "psd" else write_openraster)(stack, Picture(pixels), path)
    else:
        Image.fromarray(pixels[..., :3]).save(path)
    spoilt = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(spoilt)
    try:
        picture = load_picture(path)
    except BadPicture as problem:
        assert problem.hint
    else:
        assert picture.pixels.shape[2] == 4


def png_that_claims(width: int, height: int, depth: int = 8) -> bytes:
    """A tiny PNG whose header promises a huge picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 8_000), (70_000, 20), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_opened(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png_that_claims(*size))
    refused(tmp_path / "a.png", "too large|damaged")
    with zipfile.ZipFile(tmp_path / "a.ora", "w") as archive:
        archive.writestr("mergedimage.png", png_that_claims(*size))
    refused(tmp_path / "a.ora", "too large|damaged")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.ora", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("mergedimage.png", "w") as out,
    ):
        for _ in range(6 * MAX_PIXELS // 2**20):
            out.write(bytes(2**20))
    assert (tmp_path / "a.ora").stat().st_size < 2**20
    refused(tmp_path / "a.ora", "damaged")


def test_a_psd_that_claims_to_be_huge(tmp_path: Path) -> None:
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 30_000, 30_000, 8, 3)
    (tmp_path / "a.psd").write_bytes(header + bytes(100))
    refused(tmp_path / "a.psd", "too large")


def test_too_small_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "too small")


def test_an_ora_or_kra_without_a_merged_image(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.kra", "w") as archive:
        archive.writestr("mimetype", "application/x-krita")
    assert "Krita" in refused(tmp_path / "a.kra", "no flattened picture").hint


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps permissions elsewhere")
def test_a_folder_that_may_not_be_entered(as_nobody: Path) -> None:
    refused(as_nobody / "locked" / "a.png", "may not be entered")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    refused(tmp_path / ("n" * 300 + ".png"), "There is no")
