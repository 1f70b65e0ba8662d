"""The environment for models is used only when it was finished, which its stamp says."""

import json
import sys
from pathlib import Path

import pytest

from bridge.backends.diffusers import environment
from installer.environment import STAMP
from installer.gpu_environment import GpuEnvironment


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    return tmp_path


def test_it_is_where_the_installer_makes_it() -> None:
    assert (GpuEnvironment.name, STAMP) == (environment.FOLDER, environment.STAMP)


def test_it_is_not_there(root: Path) -> None:
    assert environment.python() is None and environment.accelerator() == ""


@pytest.mark.parametrize("stamp", ["", "{", "[1]", "{}"])
def test_it_was_interrupted(root: Path, stamp: str) -> None:
    made = _python(root)
    assert environment.python() is None
    (root / environment.FOLDER / STAMP).write_text(stamp)
    assert environment.python() is None and environment.accelerator() == "" and made.is_file()


def test_it_is_ready(root: Path) -> None:
    made = _python(root)
    (root / environment.FOLDER / STAMP).write_text(json.dumps({"accelerator": "rocm"}))
    assert environment.python() == made and environment.accelerator() == "rocm"


def _python(root: Path) -> Path:
    windows = sys.platform == "win32"
    python = root / environment.FOLDER / ("Scripts" if windows else "bin") / ("python.exe" if windows else "python")
    python.parent.mkdir(parents=True)
    python.write_text("")
    return python
