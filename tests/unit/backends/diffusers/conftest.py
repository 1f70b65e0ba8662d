"""A tiny model that the environment for models made, in a data folder of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from bridge.backends.diffusers import environment

ROOT = Path(__file__).parents[4]


def make_painter(folder: Path) -> Path:
    """Save the tiny model of tests/gpu/painter.py in `folder`; where the environment is not there, the test says so."""
    python = environment.python()
    if python is None:
        why = "The environment for models is not here: python3 install.py --test makes it."
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    command = [python, "-W", "ignore", "-m", "tests.gpu.painter", folder]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    return folder


def add_model(data: Path, model: Path, **preferred: object) -> None:
    """Let the data folder know the model, and prefer the backend's options."""
    places = {"base": model, "transformer": model / "transformer", "text_encoder": model / "text_encoder"}
    record = {"form": "bf16", "own": True, **{role: {"path": str(path)} for role, path in places.items()}}
    (data / "models" / "painter").mkdir(parents=True)
    (data / "models" / "painter" / "model.json").write_text(json.dumps(record))
    if preferred:
        (data / "preferences.json").write_text(json.dumps(preferred))


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_painter(tmp_path_factory.mktemp("painter") / "model")
