"""pyright over everything. A file is checked anew only where it, or a file of ours that it imports, has changed."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from installer.plugin import SHARED
from scripts.import_rules import imported, package_of

ROOT = Path(__file__).parents[1]
ASSEMBLED = ROOT / "build" / "plugin" / "unflatten"
"""The plugin with the files that it shares with the bridge: only there do its own imports lead somewhere."""
FOLDERS = ("bridge", "build/plugin", "installer", "scripts", "tests")
KNOWN_GOOD = ROOT / "build" / "types.json"
"""The digests of files that were found without an error."""


class PyrightFailed(Exception):
    """pyright did not come to an answer; its own words."""


def problems(*, anew: bool = False) -> tuple[int, list[str]]:
    """How many files were checked, and a line for each error. anew: check all, also what is known to be good.

    Raises PyrightFailed.
    """
    assemble_plugin()
    files = {path: _digest(path) for path in _files()}
    good = set() if anew else _known_good()
    due = [path for path, digest in files.items() if digest not in good]
    errors = _pyright(due) if due else []
    bad = {each["file"] for each in errors}
    KNOWN_GOOD.write_text(json.dumps(sorted(digest for path, digest in files.items() if str(path) not in bad)))
    return len(due), list(_lines(errors))


def assemble_plugin() -> None:
    """Lay the plugin's files, those that it shares with the bridge, and its WebSocket client side by side."""
    import websockets

    shutil.rmtree(ASSEMBLED, ignore_errors=True)
    shutil.copytree(ROOT / "plugin" / "unflatten", ASSEMBLED, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    for name in SHARED:
        shutil.copy(ROOT / "bridge" / name, ASSEMBLED)
    vendor = ASSEMBLED / "vendor"
    shutil.copytree(Path(websockets.__file__).parent, vendor / "websockets", ignore=shutil.ignore_patterns("*.pyc"))
    (vendor / "__init__.py").touch()


def _pyright(files: Iterable[Path]) -> list[dict[str, Any]]:
    """What pyright says is wrong in `files`. Two threads: a third would parse everything once more."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--threads", "2", "-"]
    words = "\n".join(str(path.relative_to(ROOT)) for path in files)
    done = subprocess.run(command, cwd=ROOT, input=words, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise PyrightFailed((done.stdout + done.stderr).strip()) from None
    errors = [each for each in told["generalDiagnostics"] if each["severity"] == "error"]
    if done.returncode and not errors:
        raise PyrightFailed(done.stdout)
    return errors


def _lines(errors: list[dict[str, Any]]) -> Iterator[str]:
    for each in errors:
        line = each["range"]["start"]["line"] + 1
        message = " ".join(each["message"].split())
        yield f"{_source(Path(each['file']))}:{line}: {message} ({each.get('rule', 'syntax')})"


def _source(path: Path) -> str:
    """Where the checked file `path` comes from, as seen from the project's folder."""
    if ASSEMBLED in path.parents:
        inner = path.relative_to(ASSEMBLED)
        path = ROOT / "bridge" / inner if str(inner) in SHARED else ROOT / "plugin" / "unflatten" / inner
    return path.relative_to(ROOT).as_posix()


def _files() -> list[Path]:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in [*files, ROOT / "install.py"] if not {"vendor", "node_modules"} & set(path.parts)]


def _known_good() -> set[str]:
    try:
        return set(json.loads(KNOWN_GOOD.read_text()))
    except (OSError, ValueError):
        return set()


def _digest(path: Path) -> str:
    """Of all that the errors in `path` depend on: its text, those of ours that it imports, types and settings."""
    texts = (f"{each.relative_to(ROOT)} {_text_digest(each)}" for each in sorted(_reached(path)))
    return hashlib.sha256("\n".join([_surroundings(), str(path.relative_to(ROOT)), *texts]).encode()).hexdigest()


@cache
def _surroundings() -> str:
    files = [*sorted((ROOT / "typings").rglob("*.pyi")), ROOT / "pyproject.toml", ROOT / "requirements-dev.lock"]
    return " ".join([version("pyright"), *map(_text_digest, files)])


@cache
def _text_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _reached(path: Path) -> set[Path]:
    """`path`, and every file of ours that it imports, directly or by others."""
    reached, ahead = {path}, [path]
    while ahead:
        ahead = [each for near in ahead for each in _imports(near) - reached]
        reached |= set(ahead)
    return reached


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The files of ours that `path` names in an import."""
    top = ASSEMBLED.parent if ASSEMBLED in path.parents else ROOT
    found: set[Path] = set()
    for name in imported(path.read_text("utf-8"), package_of(path, top)):
        parts = name.split(".")
        for base in (ROOT, ASSEMBLED.parent):
            for length in range(len(parts), 0, -1):
                stem = base.joinpath(*parts[:length])
                found |= {each for each in (stem.with_suffix(".py"), stem / "__init__.py") if each.is_file()}
    return frozenset(found)
