"""What was behind: on grounds that are known, and on holes of every odd shape."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bridge.backends.builtin.fill import fill

WIDTH, HEIGHT = 300, 220


def _disc(x: int, y: int, radius: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask > 0


def _without(ground: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The ground with something loud where the hole is, so that any of it left over shows."""
    picture = ground.copy()
    picture[hole] = np.random.default_rng(5).integers(0, 256, (int(hole.sum()), 3))
    return picture


def _error(ground: NDArray[np.uint8], hole: NDArray[np.bool_], seed: int = 0) -> float:
    filled = fill(_without(ground, hole), hole, seed=seed)
    assert (filled[~hole] == ground[~hole]).all(), "a pixel outside the hole was touched"
    return float(np.abs(filled[hole].astype(float) - ground[hole]).mean())


def _gradient() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.dstack([60 + x * 0.5, 200 - y * 0.6, 90 + x * 0.2 + y * 0.3]).round().astype(np.uint8)


def _hills(slope: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    below = y > 110 + slope * (x - WIDTH / 2)
    return np.where(below[..., None], (60, 140, 50), (150, 200, 240)).astype(np.uint8), below


def test_a_flat_colour_comes_back_exactly() -> None:
    ground = np.full((HEIGHT, WIDTH, 3), (12, 200, 77), np.uint8)
    assert _error(ground, _disc(150, 110, 60)) == 0


def test_a_gradient_comes_back_within_a_level() -> None:
    assert _error(_gradient(), _disc(150, 110, 70)) < 1


def test_a_gradient_is_carried_on_where_it_is_known_on_one_side_only() -> None:
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[120:] = True
    assert _error(_gradient(), hole) < 6  # repeating the last known row: 17


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.3])
def test_an_outline_goes_on_straight_behind_an_object_and_colours_do_not_mix(slope: float) -> None:
    ground, below = _hills(slope)
    hole = _disc(150, 110, 60)
    filled = fill(_without(ground, hole), hole, seed=0)
    wrong = (np.abs(filled.astype(int) - ground).max(-1) > 8) & hole
    assert wrong.mean() < 0.03 * hole.mean()
    deep = hole & (np.abs(np.gradient(below.astype(float))[0]) == 0)
    mixed = np.abs(filled[deep].astype(int)[:, None] - [(60, 140, 50), (150, 200, 240)]).max(-1).min(1) > 8
    assert mixed.mean() < 0.02


def test_a_post_cut_in_two_goes_on_straight_and_as_wide() -> None:
    ground = np.full((HEIGHT, WIDTH, 3), (240, 230, 200), np.uint8)
    ground[:, 140:160] = (180, 30, 40)
    hole = _disc(150, 110, 50)
    filled = fill(_without(ground, hole), hole, seed=0)
    red = filled[60:161, :, 1] < 130
    assert (np.abs(red.sum(1) - 20) <= 2).all()
    assert (np.abs(red.argmax(1) - 140) <= 2).all()


def test_stripes_go_on_behind_an_object() -> None:
    x = np.mgrid[0:HEIGHT, 0:WIDTH][1]
    ground = np.where((x // 10 % 2 == 0)[..., None], (200, 80, 60), (240, 220, 190)).astype(np.uint8)
    assert _error(ground, _disc(150, 110, 45)) < 3


def test_dots_come_again_behind_an_object() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    inside = np.hypot(x % 20 - 10, y % 20 - 10) < 6
    ground = np.where(inside[..., None], (150, 50, 160), (240, 200, 240)).astype(np.uint8)
    hole = _disc(150, 110, 40)
    filled = fill(_without(ground, hole), hole, seed=0)
    dark = (filled[..., 1] < 125)[hole].mean()
    assert dark == pytest.approx(inside[hole].mean(), rel=0.2)
    assert np.abs(filled[hole].astype(float) - ground[hole]).mean() < 15


def test_grain_goes_on_in_the_fill() -> None:
    noise = np.random.default_rng(1).normal(0, 3, (HEIGHT, WIDTH, 3))
    ground = (np.full((HEIGHT, WIDTH, 3), 128) + noise).round().astype(np.uint8)
    hole = _disc(150, 110, 50)
    filled = fill(_without(ground, hole), hole, seed=0)
    assert filled[hole].std() == pytest.approx(ground[~hole].std(), rel=0.35)
    assert abs(filled[hole].mean() - 128) < 1


def test_texture_keeps_its_contrast() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 3)
    ground = np.clip(128 + 40 * noise[..., None] / noise.std() + np.zeros(3), 0, 255).astype(np.uint8)
    hole = _disc(150, 110, 40)
    filled = fill(_without(ground, hole), hole, seed=0)
    assert filled[hole].std() > 0.5 * ground[hole].std()
    assert abs(filled[hole].mean() - ground[~hole].mean()) < 25


def test_a_soft_edge_just_outside_the_hole_does_not_bleed_in() -> None:
    ground = np.full((HEIGHT, WIDTH, 3), 230, np.uint8)
    hole = _disc(150, 110, 50)
    picture = ground.copy()
    picture[_disc(150, 110, 51)] = 90
    filled = fill(picture, hole, seed=0)
    assert np.abs(filled[_disc(150, 110, 47)].astype(int) - 230).max() <= 2


def test_the_same_seed_gives_the_same_bytes() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    hole = _disc(150, 110, 40) | _disc(40, 40, 12)
    assert (fill(picture, hole, seed=7) == fill(picture, hole, seed=7)).all()


def test_no_hole_gives_the_picture_and_a_hole_without_surroundings_still_gives_one() -> None:
    picture = _gradient()
    assert (fill(picture, np.zeros((HEIGHT, WIDTH), bool), seed=0) == picture).all()
    assert fill(picture, np.ones((HEIGHT, WIDTH), bool), seed=0).shape == picture.shape


def test_the_picture_given_is_not_written_to() -> None:
    picture = _gradient()
    before = picture.copy()
    fill(picture, _disc(150, 110, 40), seed=0)
    assert (picture == before).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 2**31),
    st.sampled_from(["speckle", "box", "all but", "frame"]),
)
def test_any_hole_in_any_small_picture_is_filled(height: int, width: int, seed: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if rng.random() < 0.5:
        picture = cv2.resize(picture[:2, :2], (width, height), interpolation=cv2.INTER_NEAREST)
    hole = np.zeros((height, width), bool)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    match shape:
        case "speckle":
            hole = rng.random((height, width)) < rng.random()
        case "box":
            hole[y : y + int(rng.integers(1, 40)), x : x + int(rng.integers(1, 40))] = True
        case "all but":
            hole[:] = True
            hole[y, x] = False
        case _:
            hole[:] = True
            hole[2:-2, 2:-2] = False
    filled = fill(picture, hole, seed=seed)
    assert filled.shape == picture.shape and filled.dtype == np.uint8
    assert (filled[~hole] == picture[~hole]).all()
