"""The built-in backend as the engine's process knows it: what it can do, without the libraries that do it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.backends.base import NoOptions
from bridge.backends.builtin import backend
from bridge.backends.builtin.backend import Builtin
from bridge.errors import BackendUnavailable
from bridge.settings import Settings

ROOT = Path(__file__).parents[4]
LIBRARIES = {"numpy", "cv2", "scipy", "onnxruntime", "rapidocr", "PIL"}

ASK = """
import sys
from bridge.backends.base import NoOptions
from bridge.backends.builtin.backend import Builtin
from bridge.settings import Settings
assert not Builtin().capabilities(NoOptions()).unavailable
Builtin().estimate(100, 100, Settings())
print(*{name.split(".")[0] for name in sys.modules})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights, which the backend then takes for its own."""
    shutil.copytree(Path(backend.__file__).parent / "weights", tmp_path / "weights")
    monkeypatch.setattr(backend, "__file__", str(tmp_path / "backend.py"))
    return tmp_path / "weights"


def test_asking_what_it_can_do_loads_no_library() -> None:
    run = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    loaded = set(run.stdout.split())
    assert "bridge" in loaded
    assert not LIBRARIES & loaded


def test_it_can_run_with_whole_weights(folder: Path) -> None:
    able = Builtin().capabilities(NoOptions())
    assert (able.unavailable, able.remedy) == ("", "")


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_without_whole_weights_it_says_what_to_do(folder: Path, fault: str) -> None:
    weights = folder / "u2netp.onnx"
    if fault == "missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-1])
    able = Builtin().capabilities(NoOptions())
    assert "weights" in able.unavailable
    assert "install.py" in able.remedy
    with pytest.raises(BackendUnavailable) as raised:
        Builtin().open(NoOptions())
    assert (raised.value.message, raised.value.hint) == (able.unavailable, able.remedy)


def test_one_layer_is_sooner_done_than_many() -> None:
    one, many = (Builtin().estimate(1000, 1000, Settings(num_layers=n)) for n in (1, 4))
    assert one.seconds < many.seconds
