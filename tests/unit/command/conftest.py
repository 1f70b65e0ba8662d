from pathlib import Path

import pytest

from bridge.backends import registry
from bridge.jobs import supervisor
from tests.unit.command.running import ROOT, CommandLine, Here
from tests.unit.trial.bridge import WORKER
from tests.unit.trial.known import register


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
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the worker, which is started from here
    monkeypatch.setattr(registry, "_BACKENDS", dict(registry._BACKENDS))
    register()
    monkeypatch.setattr(supervisor, "WORKER_COMMAND", WORKER)
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, home, capsys)
