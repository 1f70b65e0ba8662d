"""The plugin as install.py assembles it, for what can be tested without Krita."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.environment import Environment
from installer.plugin import assemble

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that holds `unflatten/`; importable while the tests run."""
    target = tmp_path_factory.mktemp("plugin")
    assemble(target, Environment(ROOT), target / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(target)
        yield target
    for name in [name for name in sys.modules if name.split(".")[0] == "unflatten"]:
        del sys.modules[name]
