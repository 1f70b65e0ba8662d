"""Blank layers go, the others are cropped to what they cover, and nothing of the picture is lost by it."""

import numpy as np

from bridge.finish.fit import fit_to_canvas
from bridge.finish.tidy import crop_layers, drop_blank_layers
from bridge.picture import Layer, Picture, Stack


def canvas(alpha: int) -> np.ndarray:
    return np.dstack([np.full((40, 60, 3), 90, np.uint8), np.full((40, 60), alpha, np.uint8)])


def test_blank_plates_with_noise_are_dropped_and_the_bottom_is_kept():
    noise = canvas(0)
    noise[..., 3] = np.random.default_rng(0).integers(0, 30, (40, 60))
    stack = Stack((Layer("back", canvas(255)), Layer("noise", noise), Layer("seen", canvas(200))), 60, 40)
    assert [layer.name for layer in drop_blank_layers(stack).layers] == ["back", "seen"]


def test_layers_are_cropped_to_what_they_cover():
    pixels = canvas(0)
    pixels[5:9, 20:31, 3] = 7
    (layer,) = crop_layers(Stack((Layer("", pixels, 3, 2),), 70, 50)).layers
    assert layer.rect == (23, 7, 11, 4)
    assert (layer.pixels == pixels[5:9, 20:31]).all()


def test_a_layer_that_covers_nothing_goes():
    assert crop_layers(Stack((Layer("", canvas(0)),), 60, 40)).layers == ()


def test_the_bottom_gets_a_whole_canvas_and_nearly_opaque_becomes_opaque():
    red = np.full((10, 10, 4), (255, 0, 0, 252), np.uint8)
    bottom = fit_to_canvas(Stack((Layer("", red, 5, 6),), 60, 40), Picture(canvas(255))).layers[0]
    assert bottom.rect == (0, 0, 60, 40)
    assert (bottom.pixels[6:16, 5:15] == (255, 0, 0, 255)).all()
    assert not bottom.pixels[0, 0].any()
    assert red[..., 3].max() == 252, "the backend's own pixels are left alone"


def test_a_small_draft_is_scaled_to_the_picture():
    half = np.full((20, 30, 4), (10, 20, 30, 255), np.uint8)
    (layer,) = fit_to_canvas(Stack((Layer("", half),), 30, 20), Picture(canvas(255))).layers
    assert layer.rect == (0, 0, 60, 40)
    assert (layer.pixels == (10, 20, 30, 255)).all()
