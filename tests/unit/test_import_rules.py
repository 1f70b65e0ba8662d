"""Who may know whom, over the whole tree; and that each rule finds what breaks it."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import import_rules
from scripts.import_rules import BRIDGE_FILES, PLUGIN_FILES, ROOT, SHARED_FILES

HEAVY = {"numpy", "cv2", "scipy", "onnxruntime", "rapidocr", "PIL", "fastapi", "cryptography", "keyring"}
HEAVY |= {"httpx", "httpcore", "certifi"}

each_bridge_file = pytest.mark.parametrize("path", BRIDGE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
each_plugin_file = pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
each_shared_file = pytest.mark.parametrize("path", SHARED_FILES, ids=lambda path: path.name)


@each_bridge_file
def test_each_part_of_the_bridge_knows_only_whom_it_may(path: Path) -> None:
    assert list(import_rules.in_bridge(path, path.read_text("utf-8"))) == []


@pytest.mark.parametrize("path", import_rules.EVERYONES_FILES, ids=lambda path: path.name)
def test_what_everyone_may_import_knows_no_more_than_the_errors(path: Path) -> None:
    assert list(import_rules.in_what_everyone_may_import(path, path.read_text("utf-8"))) == []
    source = "from bridge.errors import UnflattenError\nfrom bridge.picture import Picture"
    told = list(import_rules.in_what_everyone_may_import(ROOT / "bridge" / "files" / "disk.py", source))
    assert told == ["bridge/files/disk.py must not know bridge.picture.Picture: everyone may import it"]


def test_every_part_has_its_rule() -> None:
    assert list(import_rules.rules_left_out()) == []


@each_bridge_file
def test_no_backend_is_named_by_server_or_command_line(path: Path) -> None:
    assert list(import_rules.backends_named(path, path.read_text("utf-8"))) == []


@each_plugin_file
def test_the_plugin_knows_krita_qt_the_standard_library_and_what_lies_beside_it(path: Path) -> None:
    assert list(import_rules.in_plugin(path, path.read_text("utf-8"))) == []


@each_shared_file
def test_what_the_plugin_shares_runs_in_kritas_python(path: Path) -> None:
    assert list(import_rules.in_shared(path, path.read_text("utf-8"))) == []


def test_a_part_that_knows_another_it_may_not_is_told() -> None:
    path = ROOT / "bridge" / "finish" / "new.py"
    source = "from bridge.server import app\ndef late() -> None:\n    from ..jobs.engine import Engine"
    assert list(import_rules.in_bridge(path, source)) == [
        "bridge/finish/new.py must not know bridge.server.app",
        "bridge/finish/new.py must not know bridge.jobs.engine.Engine",
    ]


def test_backends_know_one_another_never() -> None:
    source = "from bridge.backends.builtin import fill\nfrom bridge.backends.base import Model"
    told = ["must not know bridge.backends.builtin.fill"]
    for folder in ("backends/fal", "backends", "jobs"):
        path = ROOT / "bridge" / folder / "new.py"
        assert [each.partition(" ")[2] for each in import_rules.in_bridge(path, source)] == told
    assert not list(import_rules.in_bridge(ROOT / "bridge" / "backends" / "builtin" / "new.py", source))


def test_a_backend_that_is_named_is_told() -> None:
    assert {"builtin", "fal"} <= import_rules.BACKENDS
    path, source = ROOT / "bridge" / "cli.py", 'default = "builtin"'
    assert list(import_rules.backends_named(path, source)) == ["bridge/cli.py names the backend builtin"]


def test_a_plugin_that_imports_a_package_is_told() -> None:
    path = ROOT / "plugin" / "unflatten" / "new.py"
    source = "import numpy\nfrom .nowhere import nothing\nfrom . import wire\nimport json"
    assert list(import_rules.in_plugin(path, source)) == [
        "plugin/unflatten/new.py must not import numpy",
        "plugin/unflatten/new.py imports unflatten.nowhere.nothing, which is not there",
    ]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("from bridge.picture import Picture", "must not import bridge.picture.Picture"),
        ("match 1:\n    case 1: pass", "is no Python 3.9"),
        ("def small(value: int | None) -> None: ...", "no type before Python 3.10"),
    ],
)
def test_a_shared_file_that_kritas_python_could_not_run_is_told(source: str, told: str) -> None:
    [problem] = import_rules.in_shared(ROOT / "bridge" / "protocol.py", source)
    assert told in problem


def test_the_server_process_loads_nothing_heavy() -> None:
    show = (
        "import sys, bridge.server.daemon, bridge.server.service as _; print(*{n.split('.')[0] for n in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert not HEAVY & set(loaded.stdout.split())
    assert "starlette" in loaded.stdout
