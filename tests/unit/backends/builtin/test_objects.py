"""Objects are what the ground does not explain; those that touch are told apart; what recurs is ground."""

import cv2
import numpy as np
import pytest

from bridge.backends.builtin.edges import settle_edges, spread_colours
from bridge.backends.builtin.ground import find_ground
from bridge.backends.builtin.masks import fill_pinholes
from bridge.backends.builtin.necks import part_at_necks
from bridge.backends.builtin.objects import find_objects
from bridge.backends.builtin.parts import smooth_parts


def country(width: int = 400, height: int = 300) -> np.ndarray:
    """A graded sky over a hill."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = np.linspace([120, 180, 240], [200, 220, 250], height)[:, None]
    x = np.arange(width)
    hill = (200 + 20 * np.sin(x / 60)).astype(int)
    for column in x:
        image[hill[column] :, column] = (90, 160, 70)
    return image


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_a_gradient_is_one_part_and_an_outline_ends_it():
    labels = smooth_parts(country(), 5)
    assert labels[0, 0] == labels[150, 399]
    assert labels[0, 0] != labels[299, 0]


def test_things_on_sky_and_hill_are_found_apart_and_whole():
    image, one, two = country(), np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8)
    cv2.circle(one, (110, 190), 45, 1, -1)
    cv2.rectangle(two, (270, 60), (340, 130), 1, -1)
    image[one > 0], image[two > 0] = (220, 30, 40), (20, 20, 20)
    looked = find_objects(image, at_most=9, checkpoint=lambda: None)
    assert looked.drawn
    assert len(looked.shapes) == 2
    for true in (one > 0, two > 0):
        assert max(overlap(shape, true) for shape in looked.shapes) > 0.9


def test_a_picture_of_ground_alone_has_no_objects():
    assert find_objects(country(), at_most=9, checkpoint=lambda: None).shapes == []


def test_a_pattern_is_ground():
    image = np.full((300, 300, 3), (240, 200, 220), np.uint8)
    for y in range(15, 300, 30):
        for x in range(15, 300, 30):
            cv2.circle(image, (x, y), 7, (190, 140, 200), -1)
    assert find_ground(image, np.zeros((300, 300), np.float32)).rest.mean() < 0.01


def test_touching_things_are_parted_and_one_thing_is_not():
    image, both = np.full((200, 300, 3), 255, np.uint8), np.zeros((200, 300), np.uint8)
    cv2.circle(both, (100, 100), 50, 1, -1)
    cv2.circle(both, (195, 100), 50, 1, -1)
    image[both > 0] = (200, 40, 40)
    assert len(part_at_necks(both > 0, image)) == 1  # of one colour: one thing
    image[:, 148:][both[:, 148:] > 0] = (30, 60, 200)
    parts = part_at_necks(both > 0, image)
    assert len(parts) == 2
    assert np.array_equal(np.sum(parts, 0), both)


def test_pinholes_are_filled_and_bays_are_not():
    mask = np.ones((20, 20), bool)
    mask[10, 10] = mask[0, 3] = False
    filled = fill_pinholes(mask, 4)
    assert filled[10, 10]
    assert not filled[0, 3]


@pytest.mark.parametrize("start", ["too wide", "too narrow"])
def test_an_edge_moves_to_where_the_picture_leaves_its_ground(start: str):
    ground = np.full((80, 80, 3), (200, 220, 250), np.uint8)
    alpha = np.zeros((80, 80), np.float32)
    cv2.circle(alpha, (40, 40), 20, 1.0, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.8)
    image = np.rint(alpha[..., None] * np.array([30, 60, 20]) + (1 - alpha[..., None]) * ground).astype(np.uint8)
    rough = np.zeros((80, 80), np.float32)
    cv2.circle(rough, (40, 40), 21 if start == "too wide" else 18, 1.0, -1)
    hole = cv2.dilate(rough, np.ones((13, 13))) > 0
    core = cv2.erode(rough, np.ones((7, 7)))
    settled = settle_edges(image, ground, rough, spread_colours(image, core), hole)
    assert np.abs(settled - alpha).max() < 0.1
