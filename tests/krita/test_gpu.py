"""The main job with a model of this computer's own: real Krita, its bridge, and a tiny model in its own environment.

By kritarunner, which can be told to take few steps: with as many as a window's job takes, the tiny model needs minutes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installer.environment import Environment
from tests.krita.bridges import Bridge
from tests.krita.runner import Runner
from tests.krita.test_batch import flat, layer_names
from tests.unit.backends.diffusers.conftest import add_model, make_painter
from tests.unit.backends.diffusers.test_whole_way import grey

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.krita


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge that Krita starts, which splits with the tiny model without being told each time."""
    bridge = Bridge(Environment(ROOT).python, tmp_path / "home")
    add_model(bridge.data, make_painter(tmp_path / "model"), backend="diffusers")
    yield bridge
    bridge.end()


def test_pictures_are_split_by_the_model(
    programs: None, plugin: Path, here: Bridge, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runner = Runner(tmp_path_factory.mktemp("runner"), plugin)
    runner.use(here)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(2):
        Image.fromarray(grey(400 + 40 * number, 300)).save(source / f"{number}.png")
    settings = ("--layers", 3, "--steps", 2, "--guidance-scale", 1, "--acceleration", "none", "--prompt", "x")
    run = runner.batch(source, "--out", out, *settings, "--seed", 1, seconds=400)
    print(run.stdout, run.stderr[-1500:] if run.returncode else "")
    assert run.returncode == 0
    for number in range(2):
        names = layer_names(out / f"{number}.kra")
        group = names[f"Unflattened {number}"]
        print("top to bottom:", group)
        assert len(group) >= 2
        before = np.asarray(Image.open(source / f"{number}.png").convert("RGBA")).astype(int)
        assert np.abs(before - flat(out / f"{number}.kra")).max() == 0
