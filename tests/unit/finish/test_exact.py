"""Finished stacks flatten to the picture, whatever the draft."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.finish.exact import make_exact, weights
from bridge.finish.fit import fit_to_canvas
from bridge.finish.flatten import blend, flatten, lay_over
from bridge.finish.measure import measure
from bridge.finish.tidy import crop_layers
from bridge.picture import Layer, Picture, Stack


def test_blend_rounds_to_the_nearest_for_every_triple():
    colour, backdrop = np.mgrid[0:256, 0:256].astype(np.uint16)
    for alpha in range(256):
        truth = np.rint((backdrop * (255.0 - alpha) + colour * float(alpha)) / 255)
        assert np.array_equal(blend(backdrop, colour, np.uint16(alpha)), truth)


@st.composite
def draft_and_picture(draw, translucent: bool):
    """A random picture, and a draft of it that may be anything: other size, random alphas, cropped layers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    canvas = (width, height) if draw(st.booleans()) else (draw(st.integers(1, 30)), draw(st.integers(1, 30)))
    source = rng.integers(0, 256, (height, width, 4), np.uint8)
    if not translucent:
        source[..., 3] = 255
    else:
        source[..., 3] = rng.choice([0, 1, 128, 254, 255, 255], (height, width))
    layers = []
    for _ in range(draw(st.integers(1, 6))):
        w, h = rng.integers(1, canvas[0] + 1), rng.integers(1, canvas[1] + 1)
        left, top = rng.integers(0, canvas[0] - w + 1), rng.integers(0, canvas[1] - h + 1)
        pixels = rng.integers(0, 256, (h, w, 4), np.uint8)
        kind = rng.integers(0, 4)
        if kind == 0:
            pixels[..., 3] = rng.choice([0, 255], (h, w))
        elif kind == 1:
            pixels[..., 3] = rng.choice([0, 1, 2, 253, 254, 255], (h, w))
        elif kind == 2:
            pixels[..., 3] = 3
        layers.append(Layer("", pixels, int(left), int(top)))
    return Stack(tuple(layers), *canvas), Picture(source)


@settings(max_examples=200, deadline=None)
@given(draft_and_picture(translucent=False))
def test_flattened_layers_give_back_an_opaque_picture(case):
    draft, picture = case
    stack = crop_layers(make_exact(fit_to_canvas(draft, picture), picture))
    assert np.array_equal(flatten(stack), picture.pixels)


@settings(max_examples=200, deadline=None)
@given(draft_and_picture(translucent=True))
def test_flattened_layers_give_back_a_translucent_picture(case):
    draft, picture = case
    stack = crop_layers(make_exact(fit_to_canvas(draft, picture), picture))
    seen = picture.pixels[..., 3] > 0
    flat = flatten(stack)
    assert np.array_equal(flat[seen], picture.pixels[seen])
    assert not flat[~seen][:, 3].any()
    assert measure(stack, picture).max_error == 0
    assert measure(stack, picture).exact_share == 1


def test_a_correct_draft_is_left_as_it_is():
    rng = np.random.default_rng(1)
    layers = [rng.integers(0, 256, (20, 30, 4), np.uint8) for _ in range(3)]
    layers[0][..., 3] = 255
    layers[1][..., 3] = rng.choice([0, 90, 255], (20, 30))
    layers[2][..., 3] = rng.choice([0, 0, 170], (20, 30))
    stack = Stack(tuple(Layer("", pixels) for pixels in layers), 30, 20)
    before = [pixels.copy() for pixels in layers]
    make_exact(stack, Picture(flatten(stack)))
    for layer, old in zip(stack.layers, before, strict=True):
        assert np.array_equal(layer.pixels, old)


def test_where_no_layer_is_opaque_the_first_shows_the_picture():
    picture = Picture(np.full((20, 30, 4), (10, 200, 30, 255), np.uint8))
    clear, faint = np.zeros((20, 30, 4), np.uint8), np.full((8, 8, 4), (200, 0, 0, 90), np.uint8)
    stack = make_exact(fit_to_canvas(Stack((Layer("", clear), Layer("", faint, 4, 4)), 30, 20), picture), picture)
    assert (stack.layers[0].pixels[0, 0] == (10, 200, 30, 255)).all()
    assert np.array_equal(flatten(stack), picture.pixels)


def test_a_cut_out_on_nothing_gets_no_ground():
    source = np.zeros((20, 30, 4), np.uint8)
    source[5:15, 5:15] = (200, 40, 40, 255)
    source[4, 5:15] = (200, 40, 40, 60)
    picture, island = Picture(source), Layer("", source[4:15, 5:15].copy(), 5, 4)
    drafted = Stack((Layer("", np.zeros_like(source)), island), 30, 20)
    (only,) = crop_layers(make_exact(fit_to_canvas(drafted, picture), picture)).layers
    assert only.rect == island.rect
    assert np.array_equal(only.pixels, island.pixels)


def test_weights_of_a_pixel_add_up_to_one_over_an_opaque_first_layer():
    alphas = np.random.default_rng(2).integers(0, 256, (5, 1000)).astype(np.uint8)
    alphas[0] = 255
    assert np.allclose(weights(alphas).sum(0), 1, atol=1e-5)


def test_a_layer_over_nothing_is_copied():
    above = np.random.default_rng(3).integers(1, 256, (4, 4, 4), np.uint8)
    below = np.zeros_like(above)
    lay_over(below, above)
    assert np.array_equal(below, above)


def test_a_measured_fault_is_reported():
    source = np.full((8, 10, 4), 255, np.uint8)
    broken = source.copy()
    broken[2, 3, 1] = 250
    measured = measure(Stack((Layer("", broken),), 10, 8), Picture(source))
    assert measured.max_error == 5
    assert measured.exact_share == 79 / 80
