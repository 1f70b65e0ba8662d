"""What scripts/check does: each step over everything, one line with its time, and what it found beneath."""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installer.plugin import SHARED
from scripts import import_rules, sizes

ROOT = Path(__file__).parents[1]
ASSEMBLED = ROOT / "build" / "plugin" / "unflatten"
"""The plugin with the files that it shares with the bridge: only there do its own imports lead somewhere."""
CHECKED = ("bridge", "plugin", "installer", "scripts", "tests")


@dataclass(frozen=True)
class Result:
    """A step's end. summary: for its line; details: the lines beneath it."""

    good: bool
    summary: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[[], Result]


def main(words: list[str]) -> int:
    """Run the steps; 0 where all are good."""
    parser = argparse.ArgumentParser(prog="scripts/check", description="Format, lint, types, sizes and import rules.")
    parser.add_argument("--fix", action="store_true", help="format, and mend what the linter can mend")
    fix = parser.parse_args(words).fix
    steps = [
        Step("format", lambda: _tool("ruff", "format", *(() if fix else ("--check",)), ".")),
        Step("lint", lambda: _tool("ruff", "check", *(("--fix",) if fix else ()), "--output-format=concise", ".")),
        Step("sizes", _sizes),
        Step("imports", _imports),
        Step("types", _types),
    ]
    return 0 if all([_shown(step) for step in steps]) else 1


def _shown(step: Step) -> bool:
    began = time.monotonic()
    result = step.run()
    took = time.monotonic() - began
    print(f"{step.name:8} {'ok' if result.good else 'FAILED':7} {took:5.1f} s  {result.summary}".rstrip())
    for line in result.details:
        print(f"    {line}")
    sys.stdout.flush()
    return result.good


def _tool(name: str, *words: str) -> Result:
    done = subprocess.run([sys.executable, "-m", name, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode == 0:
        return Result(True, lines[-1] if lines else "")
    return Result(False, "", tuple(lines))


def _sizes() -> Result:
    found = list(sizes.too_large(_python_files(), ROOT))
    broken = sum(each.broken for each in found)
    details = tuple(f"{'over the bound: ' if each.broken else ''}{each.what}" for each in found)
    return Result(broken == 0, f"{broken} over the bounds, {len(found) - broken} worth a look", details)


def _imports() -> Result:
    problems = import_rules.all_problems()
    return Result(
        not problems, f"{len(import_rules.BRIDGE_FILES) + len(import_rules.PLUGIN_FILES)} files", (*problems,)
    )


def _types() -> Result:
    _assemble_plugin()
    command = [sys.executable, "-m", "pyright", "--outputjson", "--threads", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        return Result(False, "pyright did not run", (*(done.stdout + done.stderr).strip().splitlines(),))
    problems = [each for each in told["generalDiagnostics"] if each["severity"] == "error"]
    summary = f"{told['summary']['filesAnalyzed']} files, {len(problems)} errors"
    return Result(not problems and done.returncode == 0, summary, tuple(_problem_lines(problems)))


def _problem_lines(problems: list[dict[str, Any]]) -> Iterator[str]:
    for each in problems:
        line = each["range"]["start"]["line"] + 1
        message = " ".join(each["message"].split())
        yield f"{_source(Path(each['file']))}:{line}: {message} ({each.get('rule', 'syntax')})"


def _source(path: Path) -> str:
    """Where the checked file `path` comes from, as seen from the project's folder."""
    if ASSEMBLED in path.parents:
        inner = path.relative_to(ASSEMBLED)
        path = ROOT / "bridge" / inner if str(inner) in SHARED else ROOT / "plugin" / "unflatten" / inner
    return path.relative_to(ROOT).as_posix()


def _assemble_plugin() -> None:
    """Lay the plugin's files, those that it shares with the bridge, and its WebSocket client side by side."""
    import websockets

    shutil.rmtree(ASSEMBLED, ignore_errors=True)
    shutil.copytree(ROOT / "plugin" / "unflatten", ASSEMBLED, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    for name in SHARED:
        shutil.copy(ROOT / "bridge" / name, ASSEMBLED)
    vendor = ASSEMBLED / "vendor"
    shutil.copytree(Path(websockets.__file__).parent, vendor / "websockets", ignore=shutil.ignore_patterns("*.pyc"))
    (vendor / "__init__.py").touch()


def _python_files() -> list[Path]:
    files = (path for folder in CHECKED for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in (*files, ROOT / "install.py") if not {"vendor", "node_modules"} & set(path.parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
