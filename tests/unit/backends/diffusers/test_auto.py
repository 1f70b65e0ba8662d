"""How many layers a picture has, by what came out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.backends.diffusers import auto

Frame = NDArray[np.uint8]


def frame(*boxes: tuple[int, int, int, int], colour: tuple[int, int, int] = (200, 30, 30), size: int = 256) -> Frame:
    """A clear frame with opaque boxes (left, top, width, height)."""
    made = np.zeros((size, size, 4), np.uint8)
    for left, top, width, height in boxes:
        made[top : top + height, left : left + width] = (*colour, 255)
    return made


def test_noise_without_alpha_is_blank() -> None:
    """Blank plates carry noise in their colours, and a little in alpha."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 4), np.uint8)
    noise[..., 3] = np.random.default_rng(1).integers(0, 40, (256, 256), np.uint8)
    assert auto.is_blank(noise)
    assert not auto.is_blank(frame((10, 10, 20, 20)))


def test_a_copy_has_the_same_shape_and_colours() -> None:
    one = frame((20, 20, 100, 100))
    nearly = frame((21, 20, 100, 100), colour=(205, 33, 28))
    assert auto.is_copy(one, nearly)
    assert not auto.is_copy(one, frame((20, 20, 100, 100), colour=(30, 200, 30)))
    assert not auto.is_copy(one, frame((20, 20, 60, 100)))
    assert auto.worth_keeping([one, frame(), nearly, frame((150, 150, 60, 60))]) == [0, 3]


@pytest.mark.parametrize(
    ("boxes", "number"),
    [
        ([(0, 0, 256, 256)], 0),  # the ground
        ([(20, 20, 100, 100)], 1),
        ([(20, 20, 60, 60), (150, 150, 60, 60)], 2),
        ([(20, 20, 60, 60), (150, 150, 60, 60), (150, 20, 4, 4)], 2),  # a speck is no thing
        ([(20, 20, 60, 60), (82, 20, 60, 60)], 1),  # a hair's breadth apart
    ],
)
def test_things_that_lie_apart(boxes: list[tuple[int, int, int, int]], number: int) -> None:
    assert auto.pieces(frame(*boxes)) == number


def test_the_most_crowded_come_first_and_no_more_than_may() -> None:
    two = frame((20, 20, 60, 60), (150, 150, 60, 60))
    three = frame((10, 10, 60, 60), (150, 150, 60, 60), (150, 10, 60, 60))
    assert auto.crowded([frame((0, 0, 256, 256)), two, three, two]) == [2, 1]


def test_a_layer_that_comes_apart_is_replaced_by_its_parts() -> None:
    whole = frame((20, 20, 60, 60), (150, 150, 60, 60))
    left, right = frame((20, 20, 60, 60)), frame((150, 150, 60, 60))
    ground = frame((0, 0, 256, 256), colour=(1, 2, 3))
    gained = auto.gained(whole, [ground, left, right])
    assert [int(each[..., 3].astype(bool).sum()) for each in gained] == [3600, 3600]


@pytest.mark.parametrize(
    "parts",
    [
        [frame((0, 0, 256, 256)), frame((20, 20, 60, 60), (150, 150, 60, 60))],  # the same again
        [frame((20, 20, 60, 60))],  # half of it is lost
        [frame((20, 20, 60, 60)), frame((20, 20, 60, 58))],
        [],
    ],
)
def test_a_layer_stays_where_nothing_is_won(parts: list[Frame]) -> None:
    whole = frame((20, 20, 60, 60), (150, 150, 60, 60))
    (kept,) = auto.gained(whole, parts)
    assert kept is whole


def test_parts_show_nothing_beyond_their_layer() -> None:
    whole = frame((20, 20, 60, 60), (150, 150, 60, 60))
    spilled = [frame((10, 10, 80, 80)), frame((140, 140, 80, 80))]
    gained = auto.gained(whole, spilled)
    assert len(gained) == 2
    assert all(not (part[..., 3] > whole[..., 3]).any() for part in gained)
