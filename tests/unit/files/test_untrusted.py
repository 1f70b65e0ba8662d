"""What fal's clients send: opened as 8-bit sRGB, and refused with the codes of fal's API."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.errors import BadPicture
from bridge.files.untrusted import open_untrusted
from tests.unit.files.bombs import huge_tile, many_samples
from tests.unit.files.samples import GREY, TiffPage, every_kind, saved, tiff
from tests.unit.files.stacks import noise, opaque

SENT = ("png", "jpg", "webp", "gif", "bmp", "avif", "tif")


def refused(path: Path) -> str:
    with pytest.raises(BadPicture) as caught:
        open_untrusted(path)
    assert caught.value.hint
    return caught.value.code


def test_files_of_the_kinds_that_are_taken(tmp_path: Path) -> None:
    for name, data in every_kind(tmp_path).items():
        if name.endswith(SENT) and name not in ("cmyk.tif", "float.tif", "16.tif"):
            (tmp_path / name).write_bytes(data)
            assert open_untrusted(tmp_path / name).shape == (40, 50, 4), name


def test_a_profile_that_does_not_fit_and_transparency(tmp_path: Path) -> None:
    pixels = noise(1, 40, 50)
    (tmp_path / "a").write_bytes(saved(pixels, "PNG", icc_profile=GREY))
    np.testing.assert_array_equal(open_untrusted(tmp_path / "a"), pixels)


def test_exif_turns_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for form in ("JPEG", "PNG", "TIFF"):
        (tmp_path / "a").write_bytes(saved(opaque(1, 40, 50)[..., :3], form, exif=exif))
        assert open_untrusted(tmp_path / "a").shape == (50, 40, 4)


def test_tiffs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    huge_tile(tmp_path / "tile")
    assert refused(tmp_path / "tile") == "image_load_error"
    many_samples(tmp_path / "samples")
    assert refused(tmp_path / "samples") == "image_load_error"
    page = TiffPage(opaque(1, 40, 50)[..., :3], tags={256: (4, [60_000]), 257: (4, [60_000])})
    (tmp_path / "large").write_bytes(tiff(page))
    assert refused(tmp_path / "large") == "image_too_large"
