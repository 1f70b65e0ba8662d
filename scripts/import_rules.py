"""Who may know whom: the rules, and what in the tree breaks them. Shared by scripts/check and the tests."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from installer.plugin import SHARED

ROOT = Path(__file__).parents[1]
BRIDGE_FILES = sorted((ROOT / "bridge").rglob("*.py"))
PLUGIN_FILES = sorted(path for path in (ROOT / "plugin").rglob("*.py") if "vendor" not in path.parts)

EVERYONE = {"clock", "errors", "files.disk", "own_files", "processes"}
"""Leaves that every part may import."""
LOWEST = {"errors", "processes"}
"""Those of them that the others may import, and that import nothing of ours."""
SEAM = {
    "backends.base",
    "backends.choice",
    "backends.placement",
    "backends.preferences",
    "backends.registry",
    "backends.shelf",
}
"""What of the backends is known outside them: none of it belongs to one backend."""

# part of bridge → the parts of bridge that it may import, besides itself and those that everyone may
MAY_KNOW: dict[str, set[str]] = {
    "__init__": set(),
    "picture": set(),
    "settings": set(),
    "errors": set(),
    "clock": set(),
    "own_files": set(),
    "processes": set(),
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
        *SEAM,
        *{"files", "safety"},  # image files in and out
    },
    "client": {"connection_file", "__init__"},
    "server": {
        *{"jobs", "settings", "protocol", "connection_file", "client", "limits", "urls", "downloads", "__init__"},
        *SEAM,
    },
    "command": {
        *{"client", "connection_file", "manifest", "jobs", "settings", "files", "krita", "weights", "__init__"},
        *SEAM,
    },
    "cli": {"command", "client", "connection_file", "files", "keys", "server.daemon", *SEAM, "__init__"},
}
KRITA_AND_QT = {"krita", "pykrita", "PyQt5", "PyQt6"}
SHARED_WITH_THE_PLUGIN = {Path(name).stem for name in SHARED}
BESIDE_THE_PLUGIN = {*SHARED_WITH_THE_PLUGIN, "websockets"}
SHARED_FILES = [ROOT / "bridge" / name for name in SHARED]
EVERYONES_FILES = [ROOT / "bridge" / f"{name.replace('.', '/')}.py" for name in sorted(EVERYONE)]
NAME_NO_BACKEND = {"server", "command", "client", "cli"}
BACKENDS = {
    path.stem for path in (ROOT / "bridge" / "backends").iterdir() if path.is_dir() and (path / "__init__.py").is_file()
}


def all_problems() -> list[str]:
    """Everything in the tree that breaks a rule, a sentence each."""
    texts = {path: path.read_text("utf-8") for path in [*BRIDGE_FILES, *PLUGIN_FILES]}
    return [
        *rules_left_out(),
        *(problem for path in BRIDGE_FILES for problem in in_bridge(path, texts[path])),
        *(problem for path in EVERYONES_FILES for problem in in_what_everyone_may_import(path, texts[path])),
        *(problem for path in BRIDGE_FILES for problem in backends_named(path, texts[path])),
        *(problem for path in PLUGIN_FILES for problem in in_plugin(path, texts[path])),
        *(problem for path in SHARED_FILES for problem in in_shared(path, texts[path])),
    ]


def in_bridge(path: Path, source: str) -> Iterator[str]:
    """What the file `path` of the bridge imports and may not."""
    part = part_of(path)
    for name in imported(source, package_of(path, ROOT)):
        if not within(name, "bridge"):
            continue
        theirs = name.removeprefix("bridge.") if name != "bridge" else "__init__"
        if theirs.startswith("__"):
            theirs = "__init__"
        known = any(within(theirs, each) for each in {part, *EVERYONE, *MAY_KNOW.get(part, ())})
        others = any(within(theirs, f"backends.{backend}") for backend in BACKENDS - set(path.parts))
        if not known or others:
            yield f"{path.relative_to(ROOT)} must not know bridge.{theirs}"


def in_what_everyone_may_import(path: Path, source: str) -> Iterator[str]:
    """What a file that every part may import knows beyond LOWEST."""
    for name in imported(source, package_of(path, ROOT)):
        low = path.stem not in LOWEST and any(within(name, f"bridge.{each}") for each in LOWEST)
        if within(name, "bridge") and not low:
            yield f"{path.relative_to(ROOT)} must not know {name}: everyone may import it"


def rules_left_out() -> Iterator[str]:
    """The parts of the bridge that have no rule."""
    for part in sorted({part_of(path) for path in BRIDGE_FILES} - set(MAY_KNOW)):
        yield f"bridge/{part} has no rule in {Path(__file__).name}"


def backends_named(path: Path, source: str) -> Iterator[str]:
    """The backends that the server or the command line calls by name."""
    if part_of(path) in NAME_NO_BACKEND:
        strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        for name in sorted(BACKENDS & {each for each in strings if isinstance(each, str)}):
            yield f"{path.relative_to(ROOT)} names the backend {name}"


def in_plugin(path: Path, source: str) -> Iterator[str]:
    """What the file `path` of the plugin imports beside Krita, Qt, the standard library and what lies beside it."""
    for name in imported(source, package_of(path, ROOT / "plugin")):
        top, *rest = name.split(".")
        if top == "unflatten":
            ours = bool(rest) and (ROOT / "plugin" / "unflatten" / f"{rest[0]}.py").exists()
            known = not rest or rest[0] in BESIDE_THE_PLUGIN | {"vendor"} or ours
            # `from . import name` may name what __init__ holds
            if not known and path.name != "__init__.py":
                yield f"{path.relative_to(ROOT)} imports {name}, which is not there"
        elif top not in sys.stdlib_module_names and top not in KRITA_AND_QT and top not in BESIDE_THE_PLUGIN:
            yield f"{path.relative_to(ROOT)} must not import {name}"


def in_shared(path: Path, source: str) -> Iterator[str]:
    """What keeps a file that the plugin runs too from running in Krita's Python."""
    where = path.relative_to(ROOT)
    for name in imported(source, "bridge"):
        top, *rest = name.split(".")
        if top not in sys.stdlib_module_names and not (top == "bridge" and rest[0] in SHARED_WITH_THE_PLUGIN):
            yield f"{where} must not import {name}: the plugin runs it too"
    try:
        tree = ast.parse(source, feature_version=(3, 9))
    except SyntaxError as error:
        yield f"{where}:{error.lineno} is no Python 3.9"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield f"{where}:{node.lineno} has X | Y, which is no type before Python 3.10"


def imported(source: str, package: str) -> Iterator[str]:
    """Dotted names of all that `source`, a module of `package`, imports anywhere; relative imports made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The part of the bridge that a file belongs to: its folder in bridge/, or itself."""
    return path.relative_to(ROOT / "bridge").with_suffix("").parts[0]


def package_of(path: Path, top: Path) -> str:
    """The dotted name of the package that holds `path`; `top` is the folder that imports begin in."""
    return ".".join(path.parent.relative_to(top).parts)


def within(name: str, allowed: str) -> bool:
    """Is the dotted `name` that of `allowed` or of something in it?"""
    return name == allowed or name.startswith(f"{allowed}.")
