from pathlib import Path

import pytest

from bridge.backends import base
from tests.unit.command.running import CommandLine, Here


@pytest.fixture
def unflatten(tmp_path: Path) -> CommandLine:
    """`unflatten` in an empty folder, with the trial backends."""
    return CommandLine(tmp_path, trial=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The same in this process."""
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("UNFLATTEN_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(base, "_REGISTRY", {**base._REGISTRY, "trial": "tests.unit.trial.backends:Trial"})
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, home, capsys)
