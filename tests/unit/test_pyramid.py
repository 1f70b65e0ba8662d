"""What is known is continued smoothly into what is not, by each of the pyramid's mixes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.pyramid import (
    Level,
    box_mean,
    harmonic,
    pull,
    push,
    push_pull,
    relaxed,
    shrunk_known,
    spread,
    with_prior,
)

FILLS = {
    "push_pull": lambda values, known: push_pull(values, known.astype(np.float32)),
    "harmonic": lambda values, known: harmonic(values, known.astype(np.float32)),
    "spread": spread,
}


@st.composite
def sparse(draw) -> tuple[np.ndarray, np.ndarray]:
    """Random values (h, w, C) and which of them are known, at least one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width, channels = draw(st.integers(1, 130)), draw(st.integers(1, 130)), draw(st.integers(1, 4))
    known = rng.random((height, width)) < draw(st.sampled_from([0.01, 0.3, 0.9]))
    known[rng.integers(height), rng.integers(width)] = True
    return (rng.random((height, width, channels)) * 255).astype(np.float32), known


@pytest.mark.parametrize("fill", FILLS)
@settings(max_examples=60, deadline=None)
@given(case=sparse())
def test_known_pixels_keep_their_value_and_others_stay_within_their_range(fill: str, case) -> None:
    values, known = case
    filled = FILLS[fill](values, known)
    assert filled.shape == values.shape and filled.dtype == np.float32
    assert np.abs(filled - values)[known].max() < 1e-3
    low, high = values[known].min(0), values[known].max(0)
    assert (filled >= low - 0.01).all() and (filled <= high + 0.01).all()


@pytest.mark.parametrize("fill", FILLS)
def test_where_nothing_is_known_all_is_zero(fill: str) -> None:
    assert not FILLS[fill](np.full((20, 30, 3), 9, np.float32), np.zeros((20, 30), bool)).any()


@pytest.mark.parametrize("fill", ["harmonic", "spread"])
def test_a_gradient_goes_on_through_a_hole(fill: str) -> None:
    values = np.broadcast_to(np.linspace(0, 255, 200, dtype=np.float32)[None, :, None], (120, 200, 1))
    known = np.ones((120, 200), bool)
    known[40:80, 80:120] = False
    assert np.abs(FILLS[fill](values, known) - values).max() < 12


def test_a_few_pixels_of_one_colour_give_that_colour_everywhere() -> None:
    """Halving odd sizes leaves weights of a few millionths, which once came out nearly black."""
    for height, width in ((221, 165), (219, 129), (251, 209)):
        known = np.random.default_rng(1).random((height, width)) < 0.02
        assert np.abs(spread(np.full((height, width, 3), 200, np.float32), known) - 200).max() < 0.01


def test_the_prior_decides_only_where_little_is_known() -> None:
    values, weights = np.full((1, 2, 1), 100, np.float32), np.array([[1, 0]], np.float32)
    mixed = with_prior(0.01)(Level.of(values, weights), np.full((1, 2, 1), 50, np.float32))
    assert abs(float(mixed[0, 0, 0]) - 100) < 1
    assert mixed[0, 1, 0] == 50


def test_pulling_stops_at_the_size_asked_for_and_pushing_goes_back() -> None:
    level = Level.of(np.ones((50, 90, 2), np.float32), np.ones((50, 90), np.float32))
    assert [each.weights.shape for each in pull(level, longest=4)] == [
        (50, 90),
        (25, 45),
        (13, 23),
        (7, 12),
        (4, 6),
        (2, 3),
    ]
    assert pull(level, shortest=13)[-1].weights.shape == (13, 23)
    *levels, top = pull(level)
    assert np.allclose(push(levels, top.values, relaxed(1, box_mean)), 1)


def test_colours_of_the_unknown_do_not_bleed_into_a_smaller_picture() -> None:
    values, known = np.zeros((8, 8, 1), np.float32), np.ones((8, 8), bool)
    values[:, 3:], known[:, 3:] = 255, False
    small, share = shrunk_known(values, known, (4, 4))
    assert not small.any()
    assert share[0].tolist() == [1, 0.5, 0, 0]
