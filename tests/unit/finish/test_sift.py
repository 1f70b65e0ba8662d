"""What a model hands over is sorted out before it is made exact; what cannot be of use is said so."""

import numpy as np
import pytest

from bridge.errors import UselessDraft
from bridge.finish.sift import sift, without_specks
from bridge.picture import Layer, Picture, Stack
from tests.unit.finish.drafts import blank, draft, flattened, picture, scene, small


def which(stack: Stack, drafts: list[np.ndarray]) -> list[int]:
    """The places in `drafts` of the layers that were kept."""
    return [
        next(k for k, each in enumerate(drafts) if each[..., :3].tobytes() == layer.pixels[..., :3].tobytes())
        for layer in stack.layers
    ]


def test_a_draft_that_gives_the_picture_back_is_believed():
    layers = scene()
    sifted = sift(draft([*layers, blank(layers[0])]), picture(layers))
    assert sifted.faithful
    assert which(sifted.stack, layers) == [0, 1, 2, 3]
    assert sifted.drift < 0.5


def test_blank_plates_and_the_composite_frame_go_and_are_told():
    layers = [small(each) for each in scene()]
    composite = small(flattened(scene()))
    drafts = [composite, layers[0], layers[1], blank(layers[0]), layers[2], layers[3]]
    sifted = sift(draft(drafts), picture())
    assert not sifted.faithful
    assert which(sifted.stack, drafts) == [1, 2, 4, 5]
    assert [layer.kind for layer in sifted.stack.layers] == ["background", "object", "object", "object"]
    assert "blank" in sifted.notes[0]
    assert "whole picture" in sifted.notes[1]
    assert 1 < sifted.drift < 12


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 2, 1, 3], [3, 2, 1, 0], [2, 3, 0, 1]])
def test_layers_are_put_in_the_order_that_the_picture_shows(order: list[int]):
    layers = [small(each) for each in scene()]
    sifted = sift(draft([layers[k] for k in order]), picture())
    found = which(sifted.stack, layers)
    assert found.index(0) == 0, "the ground lies below all"
    assert found.index(1) < found.index(2), "the small disc laps over the large one"
    assert any("another order" in note for note in sifted.notes)


def test_layers_in_order_stay_in_order_without_a_word():
    layers = [small(each) for each in scene()]
    sifted = sift(draft(layers), picture())
    assert which(sifted.stack, layers) == [0, 1, 2, 3]
    (told,) = sifted.notes
    assert "on average" in told


@pytest.mark.parametrize(
    ("drafts", "words"),
    [
        (lambda layers: [blank(each) for each in layers], "blank"),
        (lambda layers: [small(flattened(scene())), *layers[1:]], "background that came back is the whole picture"),
        (
            lambda layers: [np.roll(each, 90, 1) ^ np.array([128, 128, 0, 0], np.uint8) for each in layers],
            "does not show",
        ),
    ],
)
def test_a_useless_draft_is_said_to_be_useless(drafts, words: str):
    layers = [small(each) for each in scene()]
    with pytest.raises(UselessDraft, match=words) as told:
        sift(draft(drafts(layers)), picture())
    assert "unchanged" in told.value.hint


def test_layers_that_contradict_each_other_are_told():
    """Red over green, green over blue, blue over red: no order gives that picture."""
    red, green, blue = ((*colour, 255) for colour in ((200, 30, 30), (30, 200, 30), (30, 30, 200)))
    layers = [np.full((120, 200, 4), (90, 90, 90, 255), np.uint8)]
    for colour, rows in ((red, [(0, 80)]), (green, [(40, 120)]), (blue, [(0, 40), (80, 120)])):
        layers.append(np.zeros((120, 200, 4), np.uint8))
        for first, last in rows:
            layers[-1][first:last] = colour
    shown = np.empty((120, 200, 4), np.uint8)
    shown[:40], shown[40:80], shown[80:] = blue, red, green
    with pytest.raises(UselessDraft, match="contradict"):
        sift(draft(layers), Picture(np.kron(shown, np.ones((2, 2, 1), np.uint8))))


def test_specks_far_from_everything_go_and_dots_of_type_stay():
    pixels = np.zeros((200, 300, 4), np.uint8)
    pixels[50:150, 50:150] = (200, 40, 40, 255)
    pixels[40:42, 100:102] = (200, 40, 40, 255)  # a dot near by
    pixels[20:22, 250:252] = (10, 10, 10, 200)  # a speck far away
    kept = without_specks(Layer("", pixels)).pixels
    assert kept[40, 100, 3] == 255
    assert not kept[:60, 200:, 3].any()
    assert pixels[20, 250, 3] == 200, "the backend's own pixels are left alone"
