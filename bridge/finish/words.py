"""Which of a model's layers are lettering, by the words read in the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Layer, Stack

SEEN = 32
"""Alpha of 255; below it is noise."""
MOST_LINES = 254
"""Lines of text that are told apart."""
MOSTLY = 0.7
"""Of what a layer shows, this share must lie in lines of text for it to be lettering: a bottle has a label, too."""


@dataclass(frozen=True)
class Line:
    """A line of text: its words, and the (4, 2) corners around it as parts of the canvas's width and height."""

    text: str
    corners: NDArray[np.float32]


def label_text(stack: Stack, lines: Sequence[Line]) -> Stack:
    """The stack with its layers of lettering told to be that, and named by their words; the others as they are.

    stack: (h, w, 4) uint8 layers. A line belongs to the layer of lettering that shows most in it.
    """
    if not lines:
        return stack
    places = np.zeros((stack.height, stack.width), np.uint8)
    for number, line in enumerate(lines[:MOST_LINES], 1):
        corners = (line.corners * (stack.width, stack.height)).round().astype(np.int32)
        cv2.fillConvexPoly(places, corners, number)
    shown = [_shown(layer, places) for layer in stack.layers]
    lettering = [k for k, layer in enumerate(stack.layers) if layer.kind == "object" and _is_lettering(shown[k])]
    if not lettering:
        return stack
    words: dict[int, list[str]] = {k: [] for k in lettering}
    for number, line in enumerate(lines[:MOST_LINES], 1):
        owner = max(lettering, key=lambda k: shown[k][number])
        if shown[owner][number] > 0:
            words[owner].append(line.text)
    return replace(stack, layers=tuple(_told(layer, words.get(k, [])) for k, layer in enumerate(stack.layers)))


def _shown(layer: Layer, places: NDArray[np.uint8]) -> NDArray[Any]:
    """(255,) how much of the layer lies outside all lines (0) and in each."""
    left, top, width, height = layer.rect
    alpha = layer.pixels[..., 3]
    weights = np.where(alpha > SEEN, alpha, 0).ravel()
    return np.bincount(places[top : top + height, left : left + width].ravel(), weights, minlength=MOST_LINES + 1)


def _is_lettering(shown: NDArray[Any]) -> bool:
    return bool(shown[1:].sum() > MOSTLY * shown.sum())


def _told(layer: Layer, words: list[str]) -> Layer:
    return replace(layer, kind="text", name=f"Text: {' '.join(words)}") if words else layer
