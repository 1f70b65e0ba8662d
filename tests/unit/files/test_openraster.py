import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from hypothesis import HealthCheck, given, settings
from PIL import Image, ImageCms

from bridge.files.load import load_picture
from bridge.files.openraster import write_openraster
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.stacks import opaque, stacks

again = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_layers(path: Path) -> list[tuple[Layer, bool]]:
    """The layers of an OpenRaster file, back to front, as its specification says to read them."""
    with zipfile.ZipFile(path) as archive:
        listed = ElementTree.fromstring(archive.read("stack.xml")).findall("stack/layer")
        return [
            (
                Layer(
                    layer.attrib["name"],
                    np.array(Image.open(io.BytesIO(archive.read(layer.attrib["src"])))),
                    int(layer.attrib["x"]),
                    int(layer.attrib["y"]),
                ),
                layer.attrib["visibility"] == "visible",
            )
            for layer in reversed(listed)
        ]


@again
@given(stacks())
def test_every_layer_comes_back_to_the_byte(tmp_path: Path, saved: tuple[Stack, Picture]) -> None:
    stack, picture = saved
    write_openraster(stack, picture, tmp_path / "a.ora")
    read = read_layers(tmp_path / "a.ora")
    assert len(read) == len(stack.layers)
    for (layer, visible), original in zip(read, stack.layers, strict=True):
        assert layer.name == original.name
        assert layer.rect == original.rect
        assert visible == original.visible
        np.testing.assert_array_equal(layer.pixels, original.pixels)
    np.testing.assert_array_equal(load_picture(tmp_path / "a.ora").pixels, picture.pixels)


def test_a_file_manager_knows_the_file_by_its_first_bytes(tmp_path: Path) -> None:
    write_openraster(Stack((), 20, 20), Picture(opaque(1, 20, 20)), tmp_path / "a.ora")
    assert (tmp_path / "a.ora").read_bytes()[30:54] == b"mimetypeimage/openraster"
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        assert archive.testzip() is None
        assert max(Image.open(archive.open("Thumbnails/thumbnail.png")).size) <= 256


def test_letters_that_xml_cannot_hold_are_left_out_of_a_name(tmp_path: Path) -> None:
    layer = Layer("Text: A\x00B\x0cC\ufffeD", opaque(1, 20, 20))
    write_openraster(Stack((layer,), 20, 20), Picture(opaque(1, 20, 20)), tmp_path / "a.ora")
    assert read_layers(tmp_path / "a.ora")[0][0].name == "Text: ABCD"


def test_the_profile_is_in_every_layer_and_the_merged_image(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture(opaque(1, 20, 20), profile=profile)
    write_openraster(Stack((Layer("Background", picture.pixels),), 20, 20), picture, tmp_path / "a.ora")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        for name in ("mergedimage.png", "data/layer00.png"):
            assert Image.open(archive.open(name)).info["icc_profile"] == profile
