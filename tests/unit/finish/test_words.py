"""Lettering is known by the words read in it, and what only carries words is not lettering."""

import numpy as np

from bridge.finish.words import Line, label_text
from bridge.picture import Kind, Layer, Stack


def block(left: int, top: int, width: int, height: int, kind: Kind = "object") -> Layer:
    return Layer("", np.full((height, width, 4), 255, np.uint8), left, top, kind)


def line(text: str, left: float, top: float, right: float, bottom: float) -> Line:
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return Line(text, np.array(corners, np.float32))


def test_layers_within_lines_are_lettering_in_the_order_of_the_lines() -> None:
    stack = Stack((block(0, 0, 200, 100, "background"), block(20, 10, 60, 12), block(20, 40, 100, 8)), 200, 100)
    lines = [
        line("SALE", 0.05, 0.05, 0.5, 0.3),
        line("this week", 0.05, 0.35, 0.4, 0.6),
        line("only", 0.4, 0.35, 0.7, 0.6),
    ]
    told = label_text(stack, lines).layers
    assert [(each.kind, each.name) for each in told] == [
        ("background", ""),
        ("text", "Text: SALE"),
        ("text", "Text: this week only"),
    ]


def test_a_bottle_with_a_label_stays_an_object() -> None:
    stack = Stack((block(0, 0, 200, 100, "background"), block(60, 0, 60, 100)), 200, 100)
    assert label_text(stack, [line("COLA", 0.3, 0.4, 0.6, 0.5)]) == stack


def test_without_words_nothing_changes() -> None:
    stack = Stack((block(0, 0, 200, 100),), 200, 100)
    assert label_text(stack, []) is stack
