"""What the artist had in hand stays so: the active layer, the stroke, the isolated layer; and nothing shows through."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.krita.bridges import Bridge
from tests.krita.pictures import compare, noise, seen
from tests.krita.window import Krita, wait_for

WIDTH, HEIGHT = 320, 240


def fill(krita: Krita, name: str, folder: Path) -> None:
    """A document of two layers; the lower one is the active one, the upper one half the picture."""
    upper = noise(WIDTH, HEIGHT)[::-1].copy()
    upper[: HEIGHT // 2] = 0
    (folder / "lower").write_bytes(noise(WIDTH, HEIGHT).tobytes())
    (folder / "upper").write_bytes(upper.tobytes())
    krita.create_document(name=name, width=WIDTH, height=HEIGHT)
    krita.fill(name=name, path=str(folder / "lower"))
    krita.add_layers(name=name, paths=[str(folder / "upper")])
    wait_for(lambda: krita.active_layer(name=name) == "layer", 5, "Krita to activate what was added")
    activate(krita, name, 0)


def activate(krita: Krita, name: str, index: int) -> None:
    wanted = krita.layers(name=name)[index]["name"]
    krita.select(name=name, index=index)
    wait_for(lambda: krita.active_layer(name=name) == wanted, 5, "the layer to be active")


def take_apart(krita: Krita) -> None:
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    time.sleep(0.3)  # for Krita to do what it must not


def test_the_active_layer_stays_active(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    fill(krita, "Mine", tmp_path)
    take_apart(krita)
    assert [layer["name"] for layer in krita.layers(name="Mine")] == ["Background", "layer", "Unflattened Mine"]
    assert krita.active_layer(name="Mine") == "Background"


def test_the_active_layer_of_a_document_behind_another_stays_active(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    fill(krita, "Front", tmp_path)
    fill(krita, "Behind", tmp_path)
    scripted.script(seconds=1)
    krita.trigger(action="unflatten_image")
    krita.activate(name="Front")
    krita.wait_until_idle()
    for _ in range(2):
        assert [krita.active_layer(name=name) for name in ("Front", "Behind")] == ["Background"] * 2
        krita.activate(name="Behind")
        time.sleep(0.3)
    assert krita.layers(name="Behind")[-1]["name"] == "Unflattened Behind"


def test_an_isolated_layer_stays_isolated_and_the_whole_picture_is_taken(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    fill(krita, "Alone", tmp_path)
    before = seen(krita, "Alone", tmp_path)
    krita.trigger(action="isolate_active_layer")
    alone = seen(krita, "Alone", tmp_path)
    assert compare(before, alone)[0] > 0
    try:
        take_apart(krita)
        assert krita.progress_windows() == [], "no word of a changed picture"
        assert krita.active_layer(name="Alone") == "Background"
        assert krita.action_state(action="isolate_active_layer")["checked"]
        assert compare(alone, seen(krita, "Alone", tmp_path)) == (0, 1.0)
    finally:
        krita.trigger(action="isolate_active_layer")
    assert krita.layers(name="Alone")[-1]["visible"]
    assert compare(before, seen(krita, "Alone", tmp_path)) == (0, 1.0)


def test_a_held_stroke_is_neither_ended_nor_lost(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    fill(krita, "Stroke", tmp_path)
    scripted.script(seconds=1.5)
    before = seen(krita, "Stroke", tmp_path)
    krita.trigger(action="unflatten_image")
    wait_for(lambda: "Following the script" in str(krita.progress_windows()), 20, "the job to run")
    x, y = krita.canvas_middle()
    krita.xdotool("mousemove", str(x), str(y), "mousedown", "1")
    try:
        for step in range(25):
            krita.xdotool("mousemove", str(x + 2 * step), str(y + step % 3))
            time.sleep(0.1)
        assert krita.running() == ["Stroke"], "the layers wait for the end of the stroke"
        assert krita.active_layer(name="Stroke") == "Background"
    finally:
        krita.xdotool("mouseup", "1")
    krita.wait_until_idle()
    assert krita.active_layer(name="Stroke") == "Background"
    (window,) = krita.progress_windows()
    assert "was changed while" in " ".join(window["texts"])
    krita.undo(name="Stroke")
    assert [layer["name"] for layer in krita.layers(name="Stroke")] == ["Background", "layer"]
    assert compare(before, seen(krita, "Stroke", tmp_path))[0] > 0, "the stroke is there"
    krita.undo(name="Stroke")
    assert compare(before, seen(krita, "Stroke", tmp_path)) == (0, 1.0), "it was one stroke"


@pytest.mark.parametrize("kept", [False, True], ids=["covered", "kept in view"])
def test_what_is_hidden_of_the_group_is_hidden_from_the_picture(
    krita: Krita, scripted: Bridge, tmp_path: Path, kept: bool
) -> None:
    fill(krita, "Hole", tmp_path)
    before, originals = seen(krita, "Hole", tmp_path), krita.layers(name="Hole")
    if kept:
        krita.trigger(action="unflatten_keep_original")
    try:
        take_apart(krita)
    finally:
        if kept:
            krita.trigger(action="unflatten_keep_original")
    *below, group = krita.layers(name="Hole")
    assert below == originals, "nothing that Ctrl+Z would not bring back"
    assert compare(before, seen(krita, "Hole", tmp_path)) == (0, 1.0)
    for index in range(len(group["children"])):
        krita.show_layer(name="Hole", group=group["name"], index=index, visible=False)
    empty = seen(krita, "Hole", tmp_path)
    assert (compare(before, empty) == (0, 1.0)) if kept else not np.any(empty)
    krita.key("ctrl+z")
    wait_for(lambda: krita.layers(name="Hole") == originals, 10, "one undo to take the group away")
    assert compare(before, seen(krita, "Hole", tmp_path)) == (0, 1.0)


def test_an_animation_is_refused_in_words(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    fill(krita, "Film", tmp_path)
    krita.animate(name="Film")
    before = krita.layers(name="Film")
    take_apart(krita)
    (window,) = krita.progress_windows()
    assert "is an animation" in " ".join(window["texts"])
    assert krita.layers(name="Film") == before
