from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bridge.files.fonts import elide, font_for
from bridge.files.sheet import PAPER, contact_sheet, write_sheet
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.stacks import opaque


def sheet_of(width: int, height: int, layers: int) -> Image.Image:
    pixels = np.full((height, width, 4), (10, 200, 30, 255), np.uint8)
    stack = Stack(tuple(Layer(f"Object {index}", pixels) for index in range(layers)), width, height)
    return contact_sheet(stack, Picture(pixels), "poster.png")


@pytest.mark.parametrize("layers", range(12))
@pytest.mark.parametrize("size", [(400, 400), (1600, 900), (300, 1200), (3000, 16), (16, 3000), (16, 16)])
def test_a_sheet_shows_every_layer_at_any_shape(size: tuple[int, int], layers: int) -> None:
    sheet = sheet_of(*size, layers)
    assert 0.2 < sheet.width / sheet.height < 8
    assert sheet.width < 4000 and sheet.height < 4000
    green = (np.asarray(sheet) == (10, 200, 30)).all(-1)
    # Each cell shows a piece of the same green: the pieces are apart, so rows and columns of it can be counted.
    pieces = runs(green.any(1)) * runs(green.any(0))
    assert layers + 1 <= pieces < layers + 1 + max(runs(green.any(0)), 1)


def runs(line: np.ndarray) -> int:
    return int((np.diff(np.concatenate([[0], line.astype(int)])) == 1).sum())


def test_a_layer_is_shown_where_it_lies_on_a_checkerboard() -> None:
    red = np.full((100, 100, 4), (255, 0, 0, 255), np.uint8)
    stack = Stack((Layer("Object 1", red, left=300, top=300),), 400, 400)
    sheet = np.asarray(contact_sheet(stack, Picture(opaque(1, 400, 400)), "a.png")).astype(int)
    ys, xs = np.nonzero((sheet == (255, 0, 0)).all(-1))
    second = sheet[:, sheet.shape[1] // 2 :] if sheet.shape[1] > sheet.shape[0] else sheet
    assert len(ys) > 100
    assert {200, 226} <= set(np.unique(second))
    # In the lower right quarter of its cell: above it and left of it is the checkerboard.
    assert set(np.unique(sheet[ys.min() - 30, xs.mean().astype(int)])) <= {200, 226}
    assert set(np.unique(sheet[ys.mean().astype(int), xs.min() - 30])) <= {200, 226}


def test_the_name_stands_under_its_layer() -> None:
    with_name = np.asarray(sheet_of(400, 400, 1))
    ink = (with_name.min(-1) > 225).sum()
    assert ink > 50
    assert tuple(with_name[0, 0]) == PAPER


def test_a_long_name_is_cut_and_fits() -> None:
    font = font_for("x", 17)
    for text in ("Object 2 (red, lower left) " * 9, "夏祭り" * 60, "", "\n\t "):
        assert font.getlength(elide(text, 200, font)) <= 200
    assert elide("short", 200, font) == "short"
    assert elide("x" * 400, 200, font).endswith("…")


def test_a_font_has_the_letters_of_a_name_if_any_font_here_has() -> None:
    drawn = Image.new("L", (60, 40))
    ImageDraw.Draw(drawn).text((2, 2), "Ä", 255, font_for("Ä", 17))
    missing = Image.new("L", (60, 40))
    ImageDraw.Draw(missing).text((2, 2), "\uffff", 255, font_for("Ä", 17))
    assert drawn.tobytes() != missing.tobytes()


def test_a_sheet_is_saved_whole(tmp_path: Path) -> None:
    pixels = opaque(1, 60, 60)
    write_sheet(Stack((Layer("Background", pixels),), 60, 60), Picture(pixels), "a.png", tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").format == "PNG"
    assert len(list(tmp_path.iterdir())) == 1
