import json
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from PIL import Image

from bridge.files.png import write_folder
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.stacks import opaque, stacks

again = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@again
@given(stacks())
def test_every_layer_comes_back_to_the_byte(tmp_path: Path, saved: tuple[Stack, Picture]) -> None:
    stack, picture = saved
    write_folder(stack, picture, tmp_path / "layers")
    listed = json.loads((tmp_path / "layers" / "stack.json").read_text("utf-8"))
    assert (listed["width"], listed["height"]) == (stack.width, stack.height)
    for told, original in zip(listed["layers"], stack.layers, strict=True):
        assert told["name"] == original.name
        left, top, width, height = told["rect"]
        assert (left, top, width, height) == original.rect
        pixels = np.array(Image.open(tmp_path / "layers" / told["file"]))
        assert pixels.shape[:2] == (stack.height, stack.width)
        np.testing.assert_array_equal(pixels[top : top + height, left : left + width], original.pixels)
        assert pixels[..., 3].any(0).sum() <= width
    names = {path.name for path in (tmp_path / "layers").iterdir()}
    assert names == {"stack.json", *(told["file"] for told in listed["layers"])}


def test_file_names_are_safe_and_in_order(tmp_path: Path) -> None:
    pixels = opaque(1, 20, 20)
    names = ["Background", "Text: SUMMER FEST", "../../etc/passwd", "CON", "夏祭り", "???", "x" * 300]
    stack = Stack(tuple(Layer(name, pixels) for name in names), 20, 20)
    write_folder(stack, Picture(pixels), tmp_path / "layers")
    files = sorted(path.name for path in (tmp_path / "layers").glob("*.png"))
    assert files[:6] == [
        "00-background.png",
        "01-text-summer-fest.png",
        "02-etc-passwd.png",
        "03-con.png",
        "04-夏祭り.png",
        "05-layer.png",
    ]
    assert len(files[6]) < 80


def test_a_second_run_removes_only_the_layers_of_the_first(tmp_path: Path) -> None:
    pixels = opaque(1, 20, 20)
    folder = tmp_path / "layers"
    write_folder(Stack((Layer("Background", pixels), Layer("Object 1", pixels)), 20, 20), Picture(pixels), folder)
    (folder / "my notes.txt").write_text("keep me")
    write_folder(Stack((Layer("Background", pixels), Layer("Object 2", pixels)), 20, 20), Picture(pixels), folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "00-background.png",
        "01-object-2.png",
        "my notes.txt",
        "stack.json",
    ]
