"""The visible picture never changes: the group's arrival, one undo, one redo."""

from pathlib import Path

import pytest

from tests.krita.bridges import Bridge
from tests.krita.pictures import compare, noise, seen
from tests.krita.window import Krita, wait_for


@pytest.mark.parametrize("clear", [False, True], ids=["opaque", "with transparency"])
def test_the_group_looks_exactly_like_the_picture_and_is_one_undo_step(
    krita: Krita, scripted: Bridge, tmp_path: Path, clear: bool
) -> None:
    width, height = 500, 390
    (tmp_path / "pixels").write_bytes(noise(width, height, clear).tobytes())
    krita.create_document(name="Poster", width=width, height=height)
    krita.fill(name="Poster", path=str(tmp_path / "pixels"))
    before = seen(krita, "Poster", tmp_path)
    originals = krita.layers(name="Poster")

    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()

    *below, group = krita.layers(name="Poster")
    assert below == originals, "the original layers stay as they are"
    assert group["name"] == "Unflattened Poster"
    assert group["visible"]
    assert group["mode"] == "copy", "it covers the original layers, so that they need not be hidden"
    assert [layer["type"] for layer in group["children"]] == ["paintlayer"] * len(group["children"])
    assert len(group["children"]) >= 2
    worst, identical = compare(before, seen(krita, "Poster", tmp_path))
    print(f"largest difference {worst}, identical {identical:.6%}")
    assert worst <= 1
    assert identical >= 0.99999
    assert krita.is_modified(name="Poster")

    krita.key("ctrl+z")
    wait_for(lambda: krita.layers(name="Poster") == originals, 10, "one undo to take the group away")
    assert compare(before, seen(krita, "Poster", tmp_path)) == (0, 1.0)
    krita.key("ctrl+shift+z")
    wait_for(lambda: krita.layers(name="Poster")[1:] == [group], 10, "one redo to bring the group back")
    assert compare(before, seen(krita, "Poster", tmp_path))[0] <= 1


def test_a_picture_that_was_painted_on_meanwhile_keeps_what_was_painted(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    scripted.script(seconds=1.5)
    (tmp_path / "pixels").write_bytes(noise(300, 200).tobytes())
    krita.create_document(name="Painted", width=300, height=200)
    krita.fill(name="Painted", path=str(tmp_path / "pixels"))
    krita.trigger(action="unflatten_image")
    wait_for(lambda: "Following the script" in str(krita.progress_windows()), 20, "the job to run")
    krita.paint(name="Painted")
    painted = seen(krita, "Painted", tmp_path)
    krita.wait_until_idle()
    group = krita.layers(name="Painted")[-1]
    assert group["name"] == "Unflattened Painted"
    assert not group["visible"]
    assert compare(painted, seen(krita, "Painted", tmp_path)) == (0, 1.0)
    (window,) = krita.progress_windows()
    assert "was changed while" in " ".join(window["texts"])
