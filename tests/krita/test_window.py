"""The main job as an artist does it: the poster, the shortcut, the built-in splitter, undo, redo, save, open again."""

from pathlib import Path

import pytest

from tests.krita.bridges import Bridge
from tests.krita.pictures import compare, seen
from tests.krita.window import Krita, wait_for

POSTER = Path(__file__).parents[2] / "bridge" / "sample" / "poster.png"
OUT = Path(__file__).parents[1] / "out"


@pytest.fixture
def builtin(krita: Krita, builtin_bridge: Bridge) -> Bridge:
    krita.use(builtin_bridge.python, builtin_bridge.data)
    return builtin_bridge


def test_a_poster_becomes_named_layers_by_one_shortcut(krita: Krita, builtin: Bridge, tmp_path: Path) -> None:
    assert krita.open_document(name="poster", path=str(POSTER))
    originals = krita.layers(name="poster")
    before = seen(krita, "poster", tmp_path)

    krita.key("ctrl+alt+u")
    wait_for(lambda: "left" in str(krita.progress_windows()), 60, "the time that is left")
    assert [window["modal"] for window in krita.progress_windows()] == [False]
    krita.screenshot(OUT / "krita-progress.png")
    krita.wait_until_idle(180)
    assert krita.progress_windows() == [], "no message that needs to be read"
    krita.screenshot(OUT / "krita-layers.png")

    *below, group = krita.layers(name="poster")
    assert below == originals
    assert group["name"] == "Unflattened poster"
    names = [layer["name"] for layer in group["children"]]
    print("bottom to top:", names)
    assert names[0] == "Background"
    assert any(name.startswith("Text: ") for name in names)
    assert len(names) >= 3
    after = seen(krita, "poster", tmp_path)
    worst, identical = compare(before, after)
    print(f"projection before and after: largest difference {worst}, identical {identical:.6%}")
    assert worst <= 1

    krita.key("ctrl+z")
    wait_for(lambda: krita.layers(name="poster") == originals, 20, "one undo to take everything away")
    assert compare(before, seen(krita, "poster", tmp_path)) == (0, 1.0)
    krita.key("ctrl+shift+z")
    wait_for(lambda: krita.layers(name="poster")[1:] == [group], 20, "one redo to bring everything back")
    assert compare(after, seen(krita, "poster", tmp_path)) == (0, 1.0)

    saved = tmp_path / "poster.kra"
    assert krita.save(name="poster", path=str(saved))
    krita.close_document(name="poster")
    assert krita.open_document(name="reopened", path=str(saved))
    assert krita.layers(name="reopened")[-1] == group
    assert compare(after, seen(krita, "reopened", tmp_path)) == (0, 1.0)
