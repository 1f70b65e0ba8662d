"""A layered file whose flattened picture is blank though its layers are not."""

import io
from pathlib import Path

import numpy as np
import pytest

from bridge.files.openraster import write_openraster
from bridge.files.psd import write_psd
from bridge.files.raster import eight_bits
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.opening import opened, refused
from tests.unit.files.samples import deep
from tests.unit.files.stacks import noise, opaque

WRITERS = {"ora": write_openraster, "psd": write_psd}
BLANKS = {"white": (255, 255, 255, 255), "black": (0, 0, 0, 255), "nothing": (0, 0, 0, 0)}

each_kind = pytest.mark.parametrize("kind", WRITERS)


def filled(colour: tuple[int, ...], dtype: type = np.uint8, height: int = 60, width: int = 80) -> np.ndarray:
    pixels = np.empty((height, width, 4), dtype)
    pixels[:] = np.array(colour) * (257 if dtype == np.uint16 else 1)
    return pixels


def file(kind: str, merged: np.ndarray, *layers: Layer, folder: Path) -> bytes:
    picture = Picture(merged, view=eight_bits(merged))
    WRITERS[kind](Stack(layers, 80, 60), picture, folder / "written")
    return (folder / "written").read_bytes()


@each_kind
@pytest.mark.parametrize("colour", BLANKS.values(), ids=BLANKS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_is_told_with_a_way_out(tmp_path: Path, kind: str, colour: tuple[int, ...], dtype: type) -> None:
    painted = noise(1, 30, 30) if dtype == np.uint8 else deep(1, 30, 30)
    layers = Layer("Ground", filled((255, 255, 255, 255), dtype)), Layer("Object", painted, 20, 10)
    data = file(kind, filled(colour, dtype), *layers, folder=tmp_path)
    problem = refused(tmp_path, data, "flattened picture in a is blank")
    assert ("Maximize Compatibility" in problem.hint) == (kind == "psd")


@each_kind
def test_one_layer_of_another_colour_is_enough(tmp_path: Path, kind: str) -> None:
    layer = Layer("Ground", filled((200, 30, 40, 255)))
    refused(tmp_path, file(kind, filled(BLANKS["white"]), layer, folder=tmp_path), "is blank")


@each_kind
def test_a_picture_that_is_of_one_colour_is_not_accused(tmp_path: Path, kind: str) -> None:
    red = filled((200, 30, 40, 255))
    for layers in (
        [Layer("Ground", red)],
        [Layer("Ground", red), Layer("Object", red[:20, :20], 5, 5)],
        [Layer("Hidden", opaque(1, 60, 80), visible=False), Layer("Ground", red)],
        [Layer("Covered", opaque(1, 60, 80)), Layer("Ground", red)],
        [Layer("Ground", red), Layer("Nothing", filled((0, 0, 0, 0)))],
    ):
        assert opened(tmp_path, file(kind, red, *layers, folder=tmp_path)).width == 80


@each_kind
def test_a_transparent_picture_with_transparent_layers_is_not_accused(tmp_path: Path, kind: str) -> None:
    nothing = filled((0, 0, 0, 0))
    assert opened(tmp_path, file(kind, nothing, Layer("Nothing", nothing), folder=tmp_path)).width == 80


def test_a_cmyk_psd_is_told_too(tmp_path: Path) -> None:
    from PIL import Image
    from psd_tools import PSDImage

    psd = PSDImage.new("CMYK", (80, 60), color=0)
    psd.create_pixel_layer(Image.fromarray(noise(1, 60, 80), "CMYK"), "Object")
    out = io.BytesIO()
    psd.save(out)
    size = 4 * 60 * 80
    assert opened(tmp_path, out.getvalue()).width == 80
    refused(tmp_path, out.getvalue()[:-size] + b"\xff" * size, "is blank")
