"""What the tests in real Krita share: one screen, one Krita, and bridges to point its plugin at."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.environment import Environment
from installer.plugin import assemble
from tests.krita.bridges import Bridge, scripted_python
from tests.krita.window import Krita, Screen, missing_programs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = ROOT / "tests" / "out"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "krita" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.krita)


@pytest.fixture(scope="session")
def programs() -> None:
    missing = missing_programs()
    if missing:
        sentence = f"Real Krita cannot be driven here: {', '.join(missing)} missing."
        pytest.fail(sentence) if os.environ.get("CI") == "true" else pytest.skip(sentence)


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assembled plugin, as install.py makes it."""
    target = tmp_path_factory.mktemp("plugin")
    assemble(target, Environment(ROOT), target / "nowhere")
    return target


@pytest.fixture(scope="session")
def builtin_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """The real bridge with the real splitter, started by the plugin when it is needed."""
    bridge = Bridge(Environment(ROOT).python, tmp_path_factory.mktemp("builtin"))
    yield bridge
    bridge.end()


@pytest.fixture(scope="session")
def scripted_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """The real bridge with jobs of a known length, started by the plugin when it is needed."""
    folder = tmp_path_factory.mktemp("scripted")
    bridge = Bridge(scripted_python(folder), folder / "data")
    bridge.data.mkdir()
    bridge.script()
    yield bridge
    bridge.end()


@pytest.fixture(scope="session")
def screen(programs: None) -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture(scope="session")
def only_krita(screen: Screen, plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Krita]:
    krita = Krita(screen, tmp_path_factory.mktemp("krita"), plugin)
    yield krita
    krita.close()
    OUT.mkdir(parents=True, exist_ok=True)
    shutil.copy(krita.log, OUT / "krita.log")


@pytest.fixture
def krita(only_krita: Krita) -> Iterator[Krita]:
    """The one Krita of this run, with no document open when the test starts and ends."""
    yield only_krita
    assert only_krita.script_errors() == []
    only_krita.clear_windows()
    only_krita.wait_until_idle(10)
    only_krita.clear_windows()
    for name in only_krita.document_names():
        only_krita.close_document(name=name)


@pytest.fixture
def scripted(krita: Krita, scripted_bridge: Bridge) -> Bridge:
    """Point the plugin at the scripted bridge; a job takes no time and gives two blocks on a background."""
    scripted_bridge.script()
    krita.use(scripted_bridge.python, scripted_bridge.data)
    return scripted_bridge
