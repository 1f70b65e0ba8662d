"""The arithmetic is Krita's (tests/krita compares with Krita): rounding, and copying where a layer is opaque."""

import numpy as np
import pytest

from bridge.finish.blend import blend
from bridge.finish.encoding import encoding
from tests.unit.finish.spaces import SPACES, form_of, random_pixels


def test_8_bit_rgb_rounds_to_the_nearest_for_every_triple():
    colour, backdrop = np.mgrid[0:256, 0:256].astype(np.uint8)
    form = encoding("RGBA", np.uint8)
    for alpha in range(256):
        truth = np.rint((backdrop * (255.0 - alpha) + colour * float(alpha)) / 255)
        assert np.array_equal(blend(form, backdrop, colour, np.asarray(alpha, np.uint8)), truth)


@pytest.mark.parametrize(("model", "depth"), SPACES)
def test_between_its_two_colours_and_equal_to_one_at_the_ends(model, depth):
    form, rng = form_of(model, depth), np.random.default_rng(1)
    below, above = (random_pixels(rng, form, 50, 60, [1.0])[..., :-1] for _ in range(2))
    alpha = random_pixels(rng, form, 50, 60, [0, 0.1, 0.5, 0.99, 1])[..., -1:]
    mixed = blend(form, below, above, alpha)
    assert mixed.dtype == form.dtype
    slack = 0 if form.integer else 1e-3 * float(np.max(form.high))
    low, high = np.minimum(below, above).astype(np.float64), np.maximum(below, above).astype(np.float64)
    assert ((mixed >= low - slack) & (mixed <= high + slack)).all()
    opaque, clear = (alpha == form.opaque)[..., 0], (alpha == 0)[..., 0]
    assert np.array_equal(mixed[opaque], above[opaque])
    assert np.array_equal(mixed[clear], below[clear])


def test_16_bit_grey_is_cut_off_towards_the_backdrop():
    form = encoding("GRAYA", np.uint16)
    below, above, alpha = (np.array([value], np.uint16) for value in (1000, 2000, 32768))
    assert blend(form, below, above, alpha) == 1500  # 1500.0076
    assert blend(form, above, below, alpha) == 1500  # 1499.99
