"""A lifted layer, laid back over what was under it, is the picture again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bridge.backends.builtin.unblend import lift, over

SHAPE = (4, 5)
colours = arrays(np.uint8, (*SHAPE, 3))


@settings(max_examples=200, deadline=None)
@given(colours, colours, arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)), colours)
def test_any_layer_over_its_underlay_is_the_picture_within_rounding(picture, guess, alpha, ink):
    layer, underlay = lift(picture, guess, alpha, ink.astype(np.float32))
    assert np.abs(over(layer, underlay).astype(int) - picture).max() <= 1


def test_where_nothing_is_lifted_the_picture_stays_and_the_layer_is_empty():
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    layer, underlay = lift(
        picture, np.zeros_like(picture), np.zeros(SHAPE, np.float32), np.zeros((*SHAPE, 3), np.float32)
    )
    assert (underlay == picture).all()
    assert not layer.any()


def test_where_the_layer_is_opaque_it_is_the_picture_and_the_fill_lies_below():
    picture = np.full((*SHAPE, 3), 200, np.uint8)
    fill = np.full((*SHAPE, 3), 30, np.uint8)
    layer, underlay = lift(picture, fill, np.ones(SHAPE, np.float32), np.zeros((*SHAPE, 3), np.float32))
    assert (layer == [200, 200, 200, 255]).all()
    assert (underlay == fill).all()


def test_a_true_mixture_gives_back_the_true_colours():
    alpha = np.linspace(0.2, 1, 20, dtype=np.float32).reshape(SHAPE)
    ink, ground = np.full((*SHAPE, 3), [220.0, 40, 60], np.float32), np.full((*SHAPE, 3), [30, 90, 200], np.uint8)
    picture = np.rint(alpha[..., None] * ink + (1 - alpha[..., None]) * ground).astype(np.uint8)
    layer, underlay = lift(picture, ground, alpha, ink)
    assert np.abs(layer[..., :3] - ink).max() <= 4
    assert np.abs(underlay.astype(int) - ground)[alpha < 1].max() <= 2
