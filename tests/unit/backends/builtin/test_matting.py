"""Soft edges are found where they are, and only there."""

import cv2
import numpy as np

from bridge.backends.builtin.foreground import estimate_foreground
from bridge.backends.builtin.masks import grow, shrink
from bridge.backends.builtin.matting import closed_form, trimap_around, upsample

RED, BLUE = np.array([220.0, 40, 60]), np.array([40.0, 90, 180])


def soft_disc(side: int, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """A red disc with a soft edge on a blue gradient, and its alpha."""
    alpha = np.zeros((side, side), np.float32)
    cv2.circle(alpha, (side // 2, side // 2), side // 3, 1.0, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), blur)[..., None]
    ground = BLUE + np.linspace(0, 60, side)[None, :, None]
    return np.rint(alpha * RED + (1 - alpha) * ground).astype(np.uint8), alpha[..., 0]


def test_closed_form_finds_the_alpha_of_a_soft_edge():
    image, alpha = soft_disc(160, 2.0)
    trimap = trimap_around(alpha > 0.5, 7)
    found = closed_form(image, trimap)
    unknown = (trimap > 0) & (trimap < 1)
    assert np.abs(found - alpha)[unknown].mean() < 0.01
    assert (found[trimap == 1] == 1).all()
    assert (found[trimap == 0] == 0).all()


def test_a_trimap_without_unknowns_comes_back():
    trimap = np.eye(12, dtype=np.float32)
    assert (closed_form(np.zeros((12, 12, 3), np.uint8), trimap) == trimap).all()


def test_an_upsampled_edge_lies_where_the_full_picture_has_it():
    image, alpha = soft_disc(480, 1.5)
    small = cv2.resize(image, (120, 120), interpolation=cv2.INTER_AREA)
    found = upsample(image, small, cv2.resize(alpha, (120, 120), interpolation=cv2.INTER_AREA))
    assert found.shape == alpha.shape
    assert np.abs(found - alpha).mean() < 0.005
    assert (
        np.abs(found - alpha).mean()
        < 0.7 * np.abs(cv2.resize(cv2.resize(alpha, (120, 120)), (480, 480)) - alpha).mean()
    )


def test_an_object_at_the_canvas_edge_is_not_eaten_from_there():
    mask = np.zeros((20, 20), bool)
    mask[5:15, :10] = True
    assert shrink(mask, 2)[10, 0]
    assert not shrink(mask, 2)[10, 9]
    assert grow(mask, 2)[10, 11]


def test_foreground_colours_carry_no_tint_of_the_ground():
    image, alpha = soft_disc(128, 2.5)
    edge = (alpha > 0.1) & (alpha < 0.9)
    error = np.abs(estimate_foreground(image, alpha) - RED)[edge].mean()
    assert error < 5
    assert error < 0.1 * np.abs(image - RED)[edge].mean()


def test_foreground_of_an_odd_narrow_strip():
    image = np.full((3, 37, 3), 90, np.uint8)
    assert np.abs(estimate_foreground(image, np.ones((3, 37), np.float32)) - 90).max() < 1
