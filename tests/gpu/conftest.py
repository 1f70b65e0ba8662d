"""These tests run in the environment for models, and are left out elsewhere.

From a terminal: .venv-gpu/bin/python -m pytest tests/gpu
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

collect_ignore_glob = [] if find_spec("torch") and find_spec("diffusers") else ["*"]

if not collect_ignore_glob:
    import torch

    torch.set_num_threads(1)  # for models so small, threads wait for one another longer than they work

if TYPE_CHECKING:
    from bridge.backends.diffusers.loading import Parts


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with random weights and several blocks."""
    from tests.gpu import tiny

    return tiny.save(tmp_path_factory.mktemp("tiny") / "model", num_layers=3)


@pytest.fixture(scope="session")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model that paints blobs."""
    from tests.gpu import painter

    return painter.save(tmp_path_factory.mktemp("painter") / "model")


@pytest.fixture(scope="session")
def parts(model: Path) -> "Parts":
    """That model, loaded whole."""
    from tests.gpu import running

    return running.loaded(model)


def some_picture() -> Any:
    """An RGBA image of a size that the model takes as it is, small enough to be quick."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(3).integers(0, 256, (128, 192, 4), np.uint8)
    pixels[..., 3] |= 128
    return Image.fromarray(pixels)


@pytest.fixture
def picture() -> Any:
    return some_picture()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
