"""Layers are cropped to what they cover, and nothing of the picture is lost by it."""

import numpy as np

from bridge.finish.tidy import crop_layers
from bridge.picture import Layer, Stack


def canvas(alpha: int) -> np.ndarray:
    return np.dstack([np.full((40, 60, 3), 90, np.uint8), np.full((40, 60), alpha, np.uint8)])


def test_layers_are_cropped_to_what_they_cover():
    pixels = canvas(0)
    pixels[5:9, 20:31, 3] = 7
    (layer,) = crop_layers(Stack((Layer("", pixels, 3, 2),), 70, 50)).layers
    assert layer.rect == (23, 7, 11, 4)
    assert (layer.pixels == pixels[5:9, 20:31]).all()


def test_a_layer_that_covers_nothing_goes():
    assert crop_layers(Stack((Layer("", canvas(0)),), 60, 40)).layers == ()


def test_the_first_may_be_kept_whole():
    stack = Stack((Layer("back", canvas(0)), Layer("clear", canvas(0))), 60, 40)
    assert [layer.name for layer in crop_layers(stack, whole_first=True).layers] == ["back"]
