"""A contact sheet: the picture and each of its layers on a checkerboard, with its name."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bridge.files.disk import whole_file
from bridge.files.fonts import FreeTypeFont, elide, font_for
from bridge.files.raster import eight_bits
from bridge.picture import Layer, Picture, Stack

CELL = 340
MARGIN = 20
CAPTION = 48
MAX_RATIO = 4.0
"""How far a cell follows a picture's long side: beyond it a banner would leave no room for the rest."""
SHEET_RATIO = 1.5
SQUARE = 10
PAPER = (38, 38, 42)
INK = (236, 236, 238)
FAINT = (160, 160, 166)
CHECKS = (200, 226)
NAME_SIZE = 17
NOTE_SIZE = 13


@dataclass(frozen=True)
class Cell:
    """One entry of the sheet: an RGBA image no larger than its frame, its name, and a line in small type."""

    image: Image.Image
    name: str
    note: str


def write_sheet(stack: Stack, picture: Picture, title: str, target: Path) -> None:
    """Save the contact sheet of `stack` as a PNG; `title` is the picture's name."""
    sheet = contact_sheet(stack, picture, title)
    with whole_file(target) as fresh:
        sheet.save(fresh, "PNG")


def contact_sheet(stack: Stack, picture: Picture, title: str) -> Image.Image:
    """The sheet as an RGB image: the picture first, then its layers from the back to the front."""
    frame = _frame(stack.width, stack.height)
    scale = min(frame[0] / stack.width, frame[1] / stack.height, 1.0)
    whole = Image.fromarray(picture.view)
    cells = [Cell(_shrunk(whole, scale), title, f"the picture, {stack.width}×{stack.height}")]
    for index, layer in enumerate(stack.layers):
        left, top, width, height = layer.rect
        note = f"layer {index + 1}, {width}×{height} at {left}, {top}" + ("" if layer.visible else ", hidden")
        cells.append(Cell(_placed(layer, stack, scale), layer.name, note))
    return _laid_out(cells, frame)


def _frame(width: int, height: int) -> tuple[int, int]:
    """Width and height of a cell's frame: the picture's own ratio, within bounds."""
    ratio = min(max(width / height, 1 / MAX_RATIO), MAX_RATIO)
    area = CELL * CELL * 0.75
    return max(CELL * 2 // 3, round(math.sqrt(area * ratio))), round(math.sqrt(area / ratio))


def _placed(layer: Layer, stack: Stack, scale: float) -> Image.Image:
    """The layer where it lies on the picture, shrunk."""
    canvas = Image.new("RGBA", _size(stack.width, stack.height, scale))
    small = _shrunk(Image.fromarray(eight_bits(np.asarray(layer.pixels))), scale)
    canvas.paste(small, (round(layer.left * scale), round(layer.top * scale)))
    return canvas


def _shrunk(image: Image.Image, scale: float) -> Image.Image:
    # Pillow weighs colours by their alpha here, so that hidden colours leave no fringe.
    return image.resize(_size(image.width, image.height, scale), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _size(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _laid_out(cells: list[Cell], frame: tuple[int, int]) -> Image.Image:
    step = frame[0] + MARGIN, frame[1] + CAPTION + MARGIN
    columns = _columns(len(cells), step)
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("RGB", (columns * step[0] + MARGIN, rows * step[1] + MARGIN), PAPER)
    for index, cell in enumerate(cells):
        corner = MARGIN + index % columns * step[0], MARGIN + index // columns * step[1]
        _draw(sheet, cell, corner, frame)
    return sheet


def _columns(count: int, step: tuple[int, int]) -> int:
    """The number of columns that brings the sheet nearest to its ratio, with as few empty places as may be."""

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        return (
            abs(math.log(columns * step[0] / (rows * step[1]) / SHEET_RATIO)) + 0.3 * (columns * rows - count) / columns
        )

    return min(range(1, count + 1), key=badness)


def _draw(sheet: Image.Image, cell: Cell, corner: tuple[int, int], frame: tuple[int, int]) -> None:
    """The cell's image in the middle of its frame, on a checkerboard of its own size, with the caption below."""
    x = corner[0] + (frame[0] - cell.image.width) // 2
    y = corner[1] + (frame[1] - cell.image.height) // 2
    board = _checkerboard(cell.image.width, cell.image.height)
    board.alpha_composite(cell.image)
    sheet.paste(board.convert("RGB"), (x, y))
    draw = ImageDraw.Draw(sheet)
    below = corner[1] + frame[1] + 6
    _write(draw, cell.name, (corner[0], below), frame[0], font_for(cell.name, NAME_SIZE), INK)
    _write(draw, cell.note, (corner[0], below + NAME_SIZE + 6), frame[0], font_for(cell.note, NOTE_SIZE), FAINT)


def _write(
    draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], width: int, font: FreeTypeFont, ink: tuple[int, int, int]
) -> None:
    draw.text(at, elide(text, width, font), ink, font)


def _checkerboard(width: int, height: int) -> Image.Image:
    rows, columns = np.indices((height, width)) // SQUARE
    grey = np.where((rows + columns) % 2, *CHECKS).astype(np.uint8)
    return Image.fromarray(grey).convert("RGBA")
