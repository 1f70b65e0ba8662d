"""The whole journey with a backend that behaves as image models do."""

from collections.abc import Generator

import cv2
import numpy as np
import pytest

from bridge.backends.base import DraftLayer, JobContext, Progress
from bridge.decompose import Finished, Planned, Report, decompose
from bridge.errors import UselessDraft
from bridge.finish.encoding import encoding
from bridge.finish.flatten import flatten
from bridge.picture import Layer, Picture, Stack
from bridge.settings import Settings
from tests.unit.finish import drafts

WORDS = "SUMMER SALE"


class Model:
    """Hands over `frames`, whatever the picture."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames = frames

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Generator[Progress | DraftLayer]:
        yield Progress("Thinking", 1, 1)
        for frame in self.frames:
            yield DraftLayer(Layer("", frame), frame.shape[1], frame.shape[0])


@pytest.fixture(scope="module")
def truth() -> list[np.ndarray]:
    """The scene, and lettering instead of the thin lines."""
    layers = drafts.scene(1200, 800)[:3]
    ink = np.zeros((800, 1200), np.uint8)
    cv2.putText(ink, WORDS, (60, 110), cv2.FONT_HERSHEY_DUPLEX, 3, 255, 9, cv2.LINE_AA)
    layers.append(np.dstack([np.full((800, 1200, 3), (250, 250, 245), np.uint8), ink]))
    return layers


def run(picture: Picture, frames: list[np.ndarray]) -> tuple[Stack, Report]:
    steps = list(decompose(picture, Settings(), Model(frames), JobContext(seed=1)))
    (plan,) = (step.stack for step in steps if isinstance(step, Planned))
    layers = tuple(step.layer for step in steps if isinstance(step, Finished))
    assert [layer.rect for layer in layers] == [layer.rect for layer in plan.layers], "as planned"
    report = steps[-1]
    assert isinstance(report, Report)
    return Stack(layers, plan.width, plan.height), report


def test_a_models_draft_becomes_an_exact_named_stack(truth: list[np.ndarray]) -> None:
    picture = Picture(drafts.flattened(truth))
    small = [drafts.small(layer) for layer in truth]
    composite, blank = drafts.small(picture.pixels), drafts.blank(small[0])
    stack, report = run(picture, [composite, small[0], small[2], blank, small[1], small[3]])
    assert [layer.name for layer in stack.layers] == [
        "Background",
        "Object 2 (red, centre)",
        "Object 1 (yellow, centre)",
        f"Text: {WORDS}",
    ]
    assert np.array_equal(flatten(stack, encoding("RGBA", np.uint8)), picture.pixels)
    assert (report.max_error, report.levels, report.exact_share) == (0, 255, 1)
    assert 0.5 < report.model_drift < 12
    assert [
        word
        for note in report.notes
        for word in ("blank", "whole picture", "order", "off your picture")
        if word in note
    ] == [
        "blank",
        "whole picture",
        "order",
        "off your picture",
    ]


def test_what_was_not_taken_of_a_file_is_in_the_report(truth: list[np.ndarray]) -> None:
    picture = Picture(drafts.flattened(truth), notes=("The first of 3 pages was taken.",))
    _, report = run(picture, [drafts.small(layer) for layer in truth])
    assert report.notes[0] == "The first of 3 pages was taken."


def test_a_transparent_picture_keeps_its_transparency(truth: list[np.ndarray]) -> None:
    source = drafts.flattened(truth)
    source[600:, :, 3] = 0
    source[500:600, :, 3] = 128
    stack, report = run(Picture(source), [drafts.small(layer) for layer in truth])
    flat = flatten(stack, encoding("RGBA", np.uint8))
    seen = source[..., 3] > 0
    assert np.array_equal(flat[seen], source[seen])
    assert not flat[~seen, 3].any()
    assert report.exact_share == 1


def test_a_useless_draft_is_an_error_and_no_success(truth: list[np.ndarray]) -> None:
    with pytest.raises(UselessDraft):
        run(Picture(drafts.flattened(truth)), [drafts.blank(drafts.small(layer)) for layer in truth])


def test_no_layers_at_all_is_an_error_that_says_so(truth: list[np.ndarray]) -> None:
    with pytest.raises(UselessDraft, match="No layers came back") as raised:
        run(Picture(drafts.flattened(truth)), [])
    assert "unchanged" in raised.value.hint
