"""Drafts of any size become layers of the picture's size, in its own numbers, whose edges follow the picture's."""

import cv2
import imagecodecs
import numpy as np
import pytest

from bridge.finish.exact import make_exact
from bridge.finish.fit import Fitted, enlarge, fit_to_canvas
from bridge.finish.flatten import flatten
from bridge.finish.grid import Grid
from bridge.finish.measure import measure
from bridge.picture import Layer, Picture, Stack
from tests.unit.finish.drafts import HEIGHT, WIDTH, draft, flattened, on_canvas, picture, scene, small, soft_iou
from tests.unit.finish.spaces import SPACES, form_of

PROFILES = {
    "RGBA": imagecodecs.cms_profile("srgb"),
    "GRAYA": imagecodecs.cms_profile("gray", gamma=2.2),
    "LABA": imagecodecs.cms_profile("lab2"),
    "XYZA": imagecodecs.cms_profile("xyz"),
}


def finished(layers: list[np.ndarray], source: Picture) -> Stack:
    return make_exact(enlarge(draft(layers), source), source)


def test_edges_follow_the_picture_and_not_the_blurred_draft():
    truth = scene()
    stack = finished([small(each) for each in truth], picture(truth))
    for true, layer in zip(truth[1:], stack.layers[1:], strict=True):
        plain = cv2.resize(small(true)[..., 3], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        assert soft_iou(on_canvas(layer, stack)[..., 3], true[..., 3]) > max(0.985, soft_iou(plain, true[..., 3]))


def test_visible_pixels_are_the_pictures_own_and_hidden_ones_the_drafts():
    truth = scene()
    source = picture(truth)
    stack = finished([small(each) for each in truth], source)
    disc = on_canvas(stack.layers[1], stack)
    above = [on_canvas(layer, stack)[..., 3] for layer in stack.layers[2:]]
    seen = (truth[1][..., 3] == 255) & (disc[..., 3] == 255) & (np.max(above, 0) == 0)
    assert seen.sum() > 10_000
    assert np.array_equal(disc[seen], source.pixels[seen])
    hidden = (truth[1][..., 3] == 255) & (truth[2][..., 3] == 255)
    off = np.abs(disc[hidden][:, :3].astype(int) - truth[1][hidden][:, :3])
    assert off.mean() < 1.5, "the draft was 4 levels off, and what is seen of the disc tells that"
    ground = on_canvas(stack.layers[0], stack)
    behind = truth[1][..., 3] == 255
    assert np.abs(ground[behind].astype(int) - truth[0][behind]).mean() < 2


def test_what_is_opaque_is_opaque_and_what_is_clear_is_clear():
    truth = scene()
    stack = finished([small(each) for each in truth], picture(truth))
    for true, layer in zip(truth[1:3], stack.layers[1:3], strict=True):
        alpha, solid = on_canvas(layer, stack)[..., 3], (true[..., 3] == 255).astype(np.uint8)
        inside = cv2.erode(solid, np.ones((13, 13), np.uint8)) > 0
        outside = cv2.dilate((true[..., 3] > 0).astype(np.uint8), np.ones((29, 29), np.uint8)) == 0
        assert (alpha[inside] == 255).all()
        assert (alpha[outside] == 0).all()


def test_an_object_moved_elsewhere_shows_no_rim_of_its_old_ground():
    truth = scene()
    stack = finished([small(each) for each in truth], picture(truth))
    above = np.max([each[..., 3] for each in truth[2:]], 0)
    for true, layer, seen in (
        (truth[1], stack.layers[1], above == 0),
        (truth[2], stack.layers[2], truth[3][..., 3] == 0),
    ):
        mine = on_canvas(layer, stack)
        rim = (true[..., 3] > 0) & (true[..., 3] < 255) & seen
        complement = 255.0 - true[..., :3].reshape(-1, 3).mean(0)
        for ground in (0.0, 255.0, complement):
            moved, wanted = (ground + (each[..., :3] - ground) * (each[..., 3:] / 255.0) for each in (mine, true))
            off = np.abs(moved - wanted).mean(-1)
            assert off[seen].max() < 64
            assert off[rim].mean() < 4


@pytest.mark.parametrize("size", [(601, 397), (205, 133), (1000, 670), (37, 29)])
def test_pictures_of_any_size_and_shape_are_given_back(size: tuple[int, int]):
    layers = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in scene()]
    source = Picture(flattened(layers))
    stack = finished([small(each) for each in scene()], source)
    assert (stack.width, stack.height) == size
    assert measure(stack, source).max_error == 0


@pytest.mark.parametrize(("model", "depth"), [space for space in SPACES if space[0] in PROFILES])
def test_a_model_s_draft_becomes_exact_layers_in_every_colour_space(model, depth):
    form, seen = form_of(model, depth), flattened(scene())
    light = seen[..., :3].astype(np.float32).mean(-1) / 255
    unit = np.dstack([*([light] * form.channels), np.ones_like(light)])
    source = Picture(form.from_unit(unit), model=model, profile=PROFILES[model], view=seen)
    stack = finished([small(each) for each in scene()], source)
    assert all(layer.pixels.dtype == form.dtype for layer in stack.layers)
    assert all(layer.pixels.shape[2] == form.channels + 1 for layer in stack.layers)
    assert len(stack.layers) == 4
    measured = measure(stack, source)
    assert measured.max_error <= (0 if form.integer else 1e-4)


def test_the_working_grid_holds_five_channels_as_well_as_one():
    values = np.random.default_rng(0).random((20, 30, 5)).astype(np.float32)
    grid = Grid.of(Stack((), 30, 20), Picture(np.zeros((67, 101, 4), np.uint8)))
    window = (slice(0, grid.height), slice(0, grid.width))
    whole = grid.place(values, (0, 0), 30, 20, window)
    for channel in range(5):
        alone = grid.place(values[..., channel : channel + 1], (0, 0), 30, 20, window)
        assert np.array_equal(whole[..., channel : channel + 1], alone)


def test_the_bottom_gets_a_whole_canvas_and_nearly_opaque_becomes_opaque():
    red = np.full((10, 10, 4), (255, 0, 0, 252), np.uint8)
    source = Picture(np.full((40, 60, 4), (90, 90, 90, 255), np.uint8))
    bottom = fit_to_canvas(Stack((Layer("", red, 5, 6),), 60, 40), source).layers[0]
    assert bottom.rect == (0, 0, 60, 40)
    assert (bottom.pixels[6:16, 5:15] == (255, 0, 0, 255)).all()
    assert not bottom.pixels[0, 0].any()
    assert red[..., 3].max() == 252, "the backend's own pixels are left alone"


def test_a_draft_of_the_pictures_size_is_brought_into_its_colour_space():
    seen = flattened(scene())
    profile = imagecodecs.cms_profile("adobergb")
    wide = imagecodecs.cms_transform(
        seen[..., :3].copy(),
        imagecodecs.cms_profile("srgb"),
        profile,
        colorspace="rgb",
        outcolorspace="rgb",
        outdtype="u2",
    )
    source = Picture(np.dstack([wide, np.full(wide.shape[:2], 65535, np.uint16)]), profile=profile, view=seen)
    stack = fit_to_canvas(draft(scene()), source)
    red = on_canvas(stack.layers[1], stack)
    assert red.dtype == np.uint16
    assert np.abs(red[200, 240, :3].astype(int) - wide[200, 240]).max() < 200, "where it is seen they must agree"
    assert np.array_equal(flatten(make_exact(Fitted(stack, []), source), form_of("RGBA", "U16")), source.pixels)
