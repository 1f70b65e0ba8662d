"""Finished stacks flatten to the picture, whatever the draft and whatever the document's numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.finish.encoding import Encoding, encoding
from bridge.finish.exact import make_exact, weights
from bridge.finish.fit import Fitted, fit_to_canvas
from bridge.finish.flatten import flatten, lay_over
from bridge.finish.measure import measure
from bridge.finish.tidy import crop_layers
from bridge.picture import Layer, Picture, Stack
from tests.unit.finish.spaces import SPACES, form_of, picture_of, random_pixels, tolerance

RGB8 = encoding("RGBA", np.uint8)
PICTURES = {"opaque": [1.0], "translucent": [0, 1 / 255, 0.5, 254 / 255, 1, 1]}
LAYERS = [[0, 1], [0, 1 / 255, 2 / 255, 253 / 255, 254 / 255, 1], [3 / 255], [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]]


def exact(stack: Stack, picture: Picture) -> Stack:
    return crop_layers(make_exact(Fitted(stack, []), picture))


@st.composite
def cases(draw, kind: str):
    """A random picture in any colour space, and layers that may be anything: alphas, places, sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    form = form_of(*draw(st.sampled_from(SPACES)))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    brightest = 1.0 if form.integer else draw(st.sampled_from([1.0, 8.0]))
    source = random_pixels(rng, form, height, width, PICTURES[kind], brightest)
    layers = [Layer("", random_pixels(rng, form, height, width, LAYERS[rng.integers(0, 4)]))]
    for _ in range(draw(st.integers(0, 5))):
        w, h = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
        left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        layers.append(Layer("", random_pixels(rng, form, h, w, LAYERS[rng.integers(0, 4)]), left, top))
    return form, Stack(tuple(layers), width, height), picture_of(form, source)


def worst(form: Encoding, flat: np.ndarray, wanted: np.ndarray) -> float:
    seen = (wanted[..., -1] > 0) | (flat[..., -1] > 0)
    off = np.abs(flat.astype(np.float64) - wanted.astype(np.float64))[seen]
    return float((off / np.maximum(1, np.abs(wanted[seen].astype(np.float64)))).max()) if seen.any() else 0.0


@settings(max_examples=400, deadline=None)
@given(cases("opaque"))
def test_flattened_layers_give_back_an_opaque_picture(case):
    form, stack, picture = case
    assert worst(form, flatten(exact(stack, picture), form), picture.pixels) <= tolerance(form)


@settings(max_examples=400, deadline=None)
@given(cases("translucent"))
def test_flattened_layers_give_back_a_translucent_picture(case):
    form, stack, picture = case
    stack = exact(stack, picture)
    assert worst(form, flatten(stack, form), picture.pixels) <= tolerance(form)
    measured = measure(stack, picture)
    if form.integer:
        assert (measured.max_error, measured.exact_share) == (0, 1)


@pytest.mark.parametrize(("model", "depth"), [space for space in SPACES if space[1] == "F16"])
def test_16_bit_floats_come_out_to_the_bit(model, depth):
    form, rng = form_of(model, depth), np.random.default_rng(5)
    picture = picture_of(form, random_pixels(rng, form, 60, 70, [1.0], 4.0))
    layers = tuple(Layer("", random_pixels(rng, form, 60, 70, LAYERS[k])) for k in (3, 3, 1, 3))
    stack = exact(Stack(layers, 70, 60), picture)
    assert measure(stack, picture).exact_share == 1


def test_what_is_not_a_number_stays_where_it_is():
    form, rng = form_of("RGBA", "F32"), np.random.default_rng(6)
    source = random_pixels(rng, form, 20, 30, [1.0])
    source[3:5, 4:8, :3] = np.nan
    source[10, 10, 0] = np.inf
    layers = tuple(Layer("", random_pixels(rng, form, 20, 30, LAYERS[3])) for _ in range(3))
    stack = exact(Stack(layers, 30, 20), picture_of(form, source))
    assert np.array_equal(np.isfinite(flatten(stack, form)), np.isfinite(source))
    for layer in stack.layers:
        left, top, width, height = layer.rect
        here = source[top : top + height, left : left + width]
        assert not (~np.isfinite(layer.pixels) & np.isfinite(here)).any()


def test_a_correct_draft_is_left_as_it_is():
    rng = np.random.default_rng(1)
    layers = [rng.integers(0, 256, (20, 30, 4), np.uint8) for _ in range(3)]
    layers[0][..., 3] = 255
    layers[1][..., 3] = rng.choice([0, 90, 255], (20, 30))
    layers[2][..., 3] = rng.choice([0, 0, 170], (20, 30))
    stack = Stack(tuple(Layer("", pixels) for pixels in layers), 30, 20)
    before = [pixels.copy() for pixels in layers]
    after = make_exact(Fitted(stack, []), Picture(flatten(stack, RGB8)))
    for layer, old in zip(after.layers, before, strict=True):
        seen = old[..., 3] > 0
        assert np.array_equal(layer.pixels[seen], old[seen])


def test_the_exact_layers_lie_in_the_fitted_layers_memory():
    """A copy would cost gigabytes in a large picture."""
    rng = np.random.default_rng(4)
    layers = [rng.integers(0, 256, (20, 30, 4), np.uint8) for _ in range(2)]
    layers[0][..., 3] = 255
    picture = Picture(np.dstack([rng.integers(0, 256, (20, 30, 3), np.uint8), np.full((20, 30), 255, np.uint8)]))
    stack = make_exact(Fitted(Stack(tuple(Layer("", pixels) for pixels in layers), 30, 20), []), picture)
    assert np.array_equal(flatten(stack, RGB8), picture.pixels)
    assert all(np.shares_memory(layer.pixels, old) for layer, old in zip(stack.layers, layers, strict=True))


def test_where_no_layer_is_opaque_the_first_shows_the_picture():
    picture = Picture(np.full((20, 30, 4), (10, 200, 30, 255), np.uint8))
    clear, faint = np.zeros((20, 30, 4), np.uint8), np.full((8, 8, 4), (200, 0, 0, 90), np.uint8)
    drafted = Stack((Layer("", clear), Layer("", faint, 4, 4)), 30, 20)
    stack = make_exact(Fitted(fit_to_canvas(drafted, picture), []), picture)
    assert (stack.layers[0].pixels[0, 0] == (10, 200, 30, 255)).all()
    assert np.array_equal(flatten(stack, RGB8), picture.pixels)


def test_a_cut_out_on_nothing_gets_no_ground():
    source = np.zeros((20, 30, 4), np.uint8)
    source[5:15, 5:15] = (200, 40, 40, 255)
    source[4, 5:15] = (200, 40, 40, 60)
    picture, island = Picture(source), Layer("", source[4:15, 5:15].copy(), 5, 4)
    drafted = Stack((Layer("", np.zeros_like(source)), island), 30, 20)
    (only,) = exact(fit_to_canvas(drafted, picture), picture).layers
    assert only.rect == island.rect
    assert np.array_equal(only.pixels, island.pixels)


def test_weights_of_a_pixel_add_up_to_one_over_an_opaque_first_layer():
    alphas = np.random.default_rng(2).integers(0, 256, (5, 1000)).astype(np.uint8)
    alphas[0] = 255
    assert np.allclose(weights(alphas, RGB8).sum(0), 1, atol=1e-5)


def test_a_layer_over_nothing_is_copied():
    above = np.random.default_rng(3).integers(1, 256, (4, 4, 4), np.uint8)
    below = np.zeros_like(above)
    lay_over(RGB8, below, above)
    assert np.array_equal(below, above)


def test_a_measured_fault_is_reported_in_the_documents_own_numbers():
    source = np.full((8, 10, 4), 255, np.uint8)
    broken = source.copy()
    broken[2, 3, 1] = 250
    measured = measure(Stack((Layer("", broken),), 10, 8), Picture(source))
    assert (measured.max_error, measured.levels, measured.exact_share) == (5, 255, 79 / 80)
    deep = source.astype(np.uint16) * 257
    off = deep.copy()
    off[2, 3, 1] -= 700
    measured = measure(Stack((Layer("", off),), 10, 8), Picture(deep, view=source))
    assert (measured.max_error, measured.levels, measured.exact_share) == (700, 65535, 79 / 80)
