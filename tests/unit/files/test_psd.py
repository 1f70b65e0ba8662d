from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image, ImageCms
from psd_tools import PSDImage

from bridge.errors import UnflattenError
from bridge.files.load import load_picture
from bridge.files.psd import write_psd
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.stacks import noise, opaque, stacks

again = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@again
@given(stacks())
def test_every_layer_comes_back_to_the_byte(tmp_path: Path, saved: tuple[Stack, Picture]) -> None:
    stack, picture = saved
    write_psd(stack, picture, tmp_path / "a.psd")
    psd = PSDImage.open(tmp_path / "a.psd")
    assert psd.size == (stack.width, stack.height)
    assert len(psd) == len(stack.layers)
    for layer, original in zip(psd, stack.layers, strict=True):
        assert layer.name == original.name
        assert (*layer.offset, *layer.size) == original.rect
        assert layer.visible == original.visible
        np.testing.assert_array_equal(np.array(layer.topil()), original.pixels)


def test_the_merged_image_is_the_picture(tmp_path: Path) -> None:
    picture = Picture(opaque(3, 40, 50), dpi=300)
    write_psd(Stack((Layer("Background", picture.pixels),), 50, 40), picture, tmp_path / "a.psd")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.psd").convert("RGBA")), picture.pixels)
    read = load_picture(tmp_path / "a.psd")
    np.testing.assert_array_equal(read.pixels, picture.pixels)
    assert read.dpi == 300


def test_a_transparent_merged_image_keeps_its_alpha_and_nearly_its_colours(tmp_path: Path) -> None:
    pixels = noise(4, 40, 50)
    write_psd(Stack((Layer("Background", pixels),), 50, 40), Picture(pixels), tmp_path / "a.psd")
    read = load_picture(tmp_path / "a.psd").pixels
    np.testing.assert_array_equal(read[..., 3], pixels[..., 3])
    # PSD stores it over white in 8 bits, so a colour that is hardly seen cannot come back exactly.
    solid = pixels[..., 3] > 200
    assert np.abs(read[solid].astype(int) - pixels[solid]).max() <= 2


def test_the_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture(opaque(1, 20, 20), profile=profile)
    write_psd(Stack((Layer("Background", picture.pixels),), 20, 20), picture, tmp_path / "a.psd")
    assert load_picture(tmp_path / "a.psd").profile == profile


def test_a_picture_wider_than_the_format_allows_is_refused_with_a_hint(tmp_path: Path) -> None:
    wide = opaque(1, 16, 30_001)
    with pytest.raises(UnflattenError, match="30,000") as caught:
        write_psd(Stack((Layer("Background", wide),), 30_001, 16), Picture(wide), tmp_path / "a.psd")
    assert ".ora" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
