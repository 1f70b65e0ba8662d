"""Layers are named so that an artist finds them."""

import numpy as np
import pytest

from bridge.finish.names import LONGEST, main_colour, name_layers
from bridge.picture import Kind, Layer, Stack


def block(colour: tuple[int, int, int], left: int, top: int, kind: Kind = "object", name: str = "") -> Layer:
    pixels = np.full((20, 20, 4), (*colour, 255), np.uint8)
    return Layer(name, pixels, left, top, kind)


def names(*layers: Layer) -> list[str]:
    return [layer.name for layer in name_layers(Stack(layers, 300, 300)).layers]


def test_objects_are_named_by_colour_and_place_and_counted_from_the_top():
    back = Layer("x", np.full((300, 300, 4), 255, np.uint8), kind="background")
    assert names(back, block((250, 10, 10), 10, 250), block((20, 60, 230), 140, 140)) == [
        "Background",
        "Object 2 (red, lower left)",
        "Object 1 (blue, centre)",
    ]


def test_text_keeps_the_words_read_in_it():
    assert names(block((0, 0, 0), 0, 0, "text", "Text: SUMMER FEST")) == ["Text: SUMMER FEST"]


def test_equal_names_are_told_apart():
    twice = block((0, 0, 0), 0, 0, "text", "Text: OK")
    assert names(twice, twice, twice) == ["Text: OK", "Text: OK (2)", "Text: OK (3)"]


def test_long_names_and_line_breaks_fit_one_line():
    (name,) = names(block((0, 0, 0), 0, 0, "text", "Text: one\ntwo\x07 " + "long " * 40))
    assert name.startswith("Text: one two long")
    assert len(name) <= LONGEST


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((255, 255, 255), "white"), ((10, 10, 12), "black"), ((128, 128, 128), "grey"), ((240, 20, 20), "red"),
        ((245, 140, 20), "orange"), ((250, 230, 30), "yellow"), ((30, 170, 50), "green"), ((30, 200, 200), "turquoise"),
        ((30, 60, 220), "blue"), ((130, 40, 180), "purple"), ((250, 150, 190), "pink"), ((110, 60, 25), "brown"),
    ],
)  # fmt: skip
def test_main_colour(colour: tuple[int, int, int], name: str):
    assert main_colour(block(colour, 0, 0).pixels) == name


def test_a_thin_line_has_a_colour():
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[:, 201] = (240, 20, 20, 60)
    assert main_colour(pixels) == "red"
