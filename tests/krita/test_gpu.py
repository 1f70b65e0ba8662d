"""The main job with a model of this computer's own: real Krita, its bridge, and a tiny model in its own environment."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from installer.environment import Environment
from tests.krita.bridges import Bridge
from tests.krita.pictures import compare, seen
from tests.krita.window import Krita, wait_for
from tests.unit.backends.diffusers.conftest import add_model, make_painter
from tests.unit.backends.diffusers.test_whole_way import grey

ROOT = Path(__file__).parents[2]
OUT = ROOT / "tests" / "out"


@pytest.fixture
def here(krita: Krita, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge that Krita starts, which splits with the tiny model without being told each time."""
    bridge = Bridge(Environment(ROOT).python, tmp_path / "home")
    add_model(bridge.data, make_painter(tmp_path / "model"), backend="diffusers")
    krita.use(bridge.python, bridge.data)
    yield bridge
    bridge.end()


@pytest.mark.slow
def test_a_picture_is_split_by_the_model(krita: Krita, here: Bridge, tmp_path: Path) -> None:
    """With all settings as they are without a choice: 28 steps, guided, layers and names found by the model."""
    picture = tmp_path / "grey.png"
    Image.fromarray(grey(420, 300)).save(picture)
    assert krita.open_document(name="grey", path=str(picture))
    before = seen(krita, "grey", tmp_path)

    krita.key("ctrl+alt+u")
    wait_for(lambda: re.search("Splitting it into layers", str(krita.progress_windows())), 120, "its steps to be told")
    krita.screenshot(OUT / "krita-gpu.png")
    krita.wait_until_idle(500)

    assert krita.progress_windows() == [], "no message that needs to be read"
    _, group = krita.layers(name="grey")
    print("bottom to top:", [layer["name"] for layer in group["children"]])
    assert len(group["children"]) >= 2
    assert compare(before, seen(krita, "grey", tmp_path)) == (0, 1.0)
    krita.key("ctrl+z")
    wait_for(lambda: len(krita.layers(name="grey")) == 1, 20, "one undo to take the group away")
