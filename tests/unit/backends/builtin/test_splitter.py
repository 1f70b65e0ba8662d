"""The built-in splitter as the journey calls it: a picture in, layers that give it back out."""

import cv2
import numpy as np
import pytest

from bridge.backends.base import DraftLayer, JobContext, NoOptions, Progress
from bridge.backends.builtin import splitter
from bridge.backends.builtin.backend import Builtin
from bridge.backends.builtin.unblend import over
from bridge.errors import Cancelled
from bridge.picture import Layer, Picture
from bridge.settings import Settings


def poster(width: int = 420, height: int = 560) -> np.ndarray:
    """A title, a red ball and a dark box on a graded ground, (height, width, 4)."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = np.linspace([250, 240, 200], [200, 220, 250], height)[:, None]
    cv2.putText(image, "SUMMER FEST", (30, 80), cv2.FONT_HERSHEY_DUPLEX, 1.7, (40, 30, 120), 4, cv2.LINE_AA)
    cv2.circle(image, (140, 260), 70, (210, 40, 50), -1, cv2.LINE_AA)
    cv2.rectangle(image, (260, 360), (370, 480), (30, 50, 40), -1)
    return np.dstack([image, np.full((height, width), 255, np.uint8)])


def split(view: np.ndarray, num_layers: int | str = "auto", seed: int = 7) -> list[Layer]:
    settings = Settings.model_validate({"num_layers": num_layers})
    with Builtin().open(NoOptions()) as model:
        events = list(model.draft(Picture(view), settings, JobContext(seed=seed)))
    assert all((e.width, e.height) == (view.shape[1], view.shape[0]) for e in events if isinstance(e, DraftLayer))
    return [event.layer for event in events if isinstance(event, DraftLayer)]


def flattened(layers: list[Layer]) -> np.ndarray:
    canvas = layers[0].pixels[..., :3]
    for layer in layers[1:]:
        area = np.s_[layer.top : layer.top + layer.pixels.shape[0], layer.left : layer.left + layer.pixels.shape[1]]
        canvas = canvas.copy()
        canvas[area] = over(layer.pixels, canvas[area])
    return canvas


@pytest.fixture(scope="module")
def poster_layers() -> list[Layer]:
    return split(poster())


def test_a_poster_becomes_its_ground_its_objects_and_its_words(poster_layers: list[Layer]):
    assert [layer.kind for layer in poster_layers] == ["background", "object", "object", "text"]
    assert poster_layers[-1].name.replace(" ", "") == "Text:SUMMERFEST"


def test_the_layers_flattened_are_the_picture_within_rounding(poster_layers: list[Layer]):
    assert np.abs(flattened(poster_layers).astype(int) - poster()[..., :3]).max() <= 1


def test_the_ground_shows_nothing_of_what_lay_on_it(poster_layers: list[Layer]):
    ground = np.linspace([250, 240, 200], [200, 220, 250], 560)[:, None]
    error = np.abs(poster_layers[0].pixels[..., :3] - ground)
    assert (poster_layers[0].pixels[..., 3] == 255).all()
    assert error.max() < 12
    assert error.mean() < 1


def test_edges_carry_no_rim_of_the_ground(poster_layers: list[Layer]):
    ball = next(layer for layer in poster_layers if layer.kind == "object" and layer.left < 150)
    seen = ball.pixels[..., 3] > 25
    assert np.abs(ball.pixels[seen][:, :3].astype(int) - [210, 40, 50]).max() <= 30
    assert (ball.pixels[..., 3] == 255).sum() > 0.95 * np.pi * 70**2


def test_the_same_seed_gives_the_same_bytes(poster_layers: list[Layer]):
    again = split(poster())
    assert [layer.rect for layer in again] == [layer.rect for layer in poster_layers]
    assert all((a.pixels == b.pixels).all() for a, b in zip(again, poster_layers, strict=True))


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_no_more_layers_than_wanted_and_still_the_picture(wanted: int):
    layers = split(poster(), wanted)
    assert len(layers) == wanted
    assert np.abs(flattened(layers).astype(int) - poster()[..., :3]).max() <= 2


def test_islands_in_transparency_are_objects_as_they_are():
    view = np.zeros((200, 300, 4), np.uint8)
    cv2.circle(view, (70, 100), 40, (200, 30, 30, 255), -1)
    cv2.circle(view, (220, 100), 40, (30, 30, 200, 255), -1)
    layers = split(view)
    assert [layer.kind for layer in layers] == ["background", "object", "object"]
    canvas = np.zeros_like(view)
    for layer in layers:
        area = np.s_[layer.top : layer.top + layer.pixels.shape[0], layer.left : layer.left + layer.pixels.shape[1]]
        canvas[area] = np.where(layer.pixels[..., 3:] > 0, layer.pixels, canvas[area])
    assert (canvas == view).all()


def test_no_layer_is_denser_than_a_transparent_picture():
    view = poster()
    view[..., 3] = np.linspace(0, 255, 420).astype(np.uint8)
    through = np.ones(view.shape[:2])
    for layer in split(view):
        area = np.s_[layer.top : layer.top + layer.pixels.shape[0], layer.left : layer.left + layer.pixels.shape[1]]
        assert (layer.pixels[..., 3] <= view[area][..., 3]).all()
        through[area] *= 1 - layer.pixels[..., 3] / 255
    assert np.abs((1 - through) * 255 - view[..., 3]).max() < 2


def test_a_cancelled_job_ends_at_once():
    with Builtin().open(NoOptions()) as model, pytest.raises(Cancelled):
        list(model.draft(Picture(poster()), Settings(), JobContext(seed=0, cancelled=lambda: True)))


def test_past_its_time_it_keeps_what_it_has_and_says_so():
    job = JobContext(seed=0)
    events = list(splitter.split(poster()[..., :3], at_most=10, seconds=0, job=job))
    assert [e.kind for e in events if isinstance(e, Layer)] == ["background", "text"]
    assert "time budget" in job.notes[0]


def test_progress_only_moves_on():
    events = list(splitter.split(poster()[..., :3], at_most=10, seconds=60, job=JobContext(seed=0)))
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == sorted(steps)
    assert max(steps) == splitter.STEPS


@pytest.mark.parametrize("size", [(16, 16), (16, 900), (700, 17)])
def test_tiny_and_narrow_pictures_are_split_too(size: tuple[int, int]):
    noise = np.random.default_rng(1).integers(0, 256, (*size, 4), dtype=np.uint8)
    noise[..., 3] = 255
    layers = split(noise)
    assert np.abs(flattened(layers).astype(int) - noise[..., :3]).max() <= 1
