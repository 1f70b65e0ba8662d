"""Who may know whom: reads the imports of the whole tree."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.backends import registry
from installer.plugin import SHARED

ROOT = Path(__file__).parents[2]
BRIDGE_FILES = sorted((ROOT / "bridge").rglob("*.py"))
PLUGIN_FILES = sorted(path for path in (ROOT / "plugin").rglob("*.py") if "vendor" not in path.parts)

_EVERYONE = {"errors", "files.disk"}
"""Leaves that every part may import."""
_BACKENDS = {"backends.base", "backends.registry", "backends.choice"}
"""What of the backends is known outside them."""

# part of bridge → the parts of bridge that it may import, besides itself and those that everyone may
MAY_KNOW: dict[str, set[str]] = {
    "__init__": set(),
    "picture": set(),
    "settings": set(),
    "errors": set(),
    "protocol": set(),
    "atomic_text": set(),
    "connection_file": {"atomic_text"},
    "manifest": {"atomic_text"},
    "krita": set(),
    "limits": set(),
    "weights": set(),
    "urls": set(),
    "downloads": {"urls"},
    "keys": {"backends.base", "backends.registry"},
    "finish": {"picture", "pyramid"},
<<<<<<< HEAD
    "pyramid": set(),
=======
>>>>>>> main
    "inference": set(),
    "pyramid": set(),
    "backends": {
        *{"picture", "settings", "weights", "reading", "inference", "pyramid", "keys", "urls", "downloads", "__init__"},
        *{"connection_file", "atomic_text"},  # the preferences, for each backend's options too
    },
    "reading": set(),
    "decompose": {"backends.base", "finish", "reading", "picture", "settings", "limits"},
    "files": {"picture", "limits"},
    "safety": {"inference"},
    "jobs": {
        *{"decompose", "picture", "settings", "limits", "protocol", "__init__"},
        *_BACKENDS,
        *{"files", "safety"},  # image files in and out
    },
    "client": {"connection_file", "__init__"},
    "server": {
        *{"jobs", "settings", "protocol", "connection_file", "limits", "urls", "downloads", "__init__"},
        *_BACKENDS,
    },
    "command": {
        *{"client", "connection_file", "manifest", "jobs", "settings", "files", "krita", "weights", "__init__"},
        *_BACKENDS,
    },
    "cli": {"command", "client", "connection_file", "files", "keys", "backends", "server.daemon", "__init__"},
}
KRITA_AND_QT = {"krita", "pykrita", "PyQt5", "PyQt6"}
SHARED_WITH_THE_PLUGIN = {Path(name).stem for name in SHARED}
BESIDE_THE_PLUGIN = {*SHARED_WITH_THE_PLUGIN, "websockets"}
HEAVY = {"numpy", "cv2", "scipy", "onnxruntime", "rapidocr", "PIL", "fastapi", "cryptography", "keyring"}
HEAVY |= {"httpx", "httpcore", "certifi"}


def imported(path: Path, package: str) -> Iterator[str]:
    """Dotted names of all that `path` imports, wherever in the file; relative imports made absolute."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "bridge").with_suffix("")
    return relative.parts[0]


def package_of(path: Path, top: Path) -> str:
    return ".".join(path.parent.relative_to(top).parts)


def within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


@pytest.mark.parametrize("path", BRIDGE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_part_of_the_bridge_knows_only_whom_it_may(path: Path) -> None:
    part = part_of(path)
    for name in imported(path, package_of(path, ROOT)):
        if not within(name, "bridge"):
            continue
        theirs = name.removeprefix("bridge.") if name != "bridge" else "__init__"
        if theirs.startswith("__"):
            theirs = "__init__"
        allowed = any(within(theirs, each) for each in {part, *_EVERYONE, *MAY_KNOW[part]})
        assert allowed, f"{path.relative_to(ROOT)} must not know bridge.{theirs}"


@pytest.mark.parametrize("name", sorted(_EVERYONE))
def test_what_everyone_may_import_knows_no_more_than_the_errors(name: str) -> None:
    path = ROOT / "bridge" / f"{name.replace('.', '/')}.py"
    ours = {each for each in imported(path, package_of(path, ROOT)) if within(each, "bridge")}
    assert all(within(each, "bridge.errors") for each in ours) and (name != "errors" or not ours)


def test_every_part_has_its_rule() -> None:
    assert {part_of(path) for path in BRIDGE_FILES} <= set(MAY_KNOW)


def test_no_backend_is_named_by_server_or_command_line() -> None:
    backends = set(registry.names())
    assert backends
    for path in BRIDGE_FILES:
        if part_of(path) in ("server", "cli", "command", "client"):
            strings = {
                node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
            }
            assert not strings & backends, path


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_plugin_knows_krita_qt_the_standard_library_and_what_lies_beside_it(path: Path) -> None:
    for name in imported(path, package_of(path, ROOT / "plugin")):
        top, *rest = name.split(".")
        if top == "unflatten":
            ours = bool(rest) and (ROOT / "plugin" / "unflatten" / f"{rest[0]}.py").exists()
            known = not rest or rest[0] in BESIDE_THE_PLUGIN | {"vendor"} or ours
            # `from . import name` may name what __init__ holds
            assert known or path.name == "__init__.py", f"{path.relative_to(ROOT)} imports {name}"
            continue
        known = top in sys.stdlib_module_names or top in KRITA_AND_QT or top in BESIDE_THE_PLUGIN
        assert known, f"{path.relative_to(ROOT)} must not import {name}"


@pytest.mark.parametrize("name", sorted(SHARED_WITH_THE_PLUGIN))
def test_what_the_plugin_shares_needs_only_the_standard_library_and_what_is_shared(name: str) -> None:
    for module in imported(ROOT / "bridge" / f"{name}.py", "bridge"):
        top, *rest = module.split(".")
        assert top in sys.stdlib_module_names or (top == "bridge" and rest[0] in SHARED_WITH_THE_PLUGIN)


@pytest.mark.parametrize("name", sorted(SHARED_WITH_THE_PLUGIN))
def test_what_the_plugin_shares_is_readable_to_python_3_9(name: str) -> None:
    tree = ast.parse((ROOT / "bridge" / f"{name}.py").read_text("utf-8"), feature_version=(3, 9))
    unions = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)]
    assert unions == [], "X | Y is no type before Python 3.10"
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))


def test_the_server_process_loads_nothing_heavy() -> None:
    show = "import sys, bridge.server.daemon; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert not HEAVY & set(loaded.stdout.split())
    assert "starlette" in loaded.stdout
