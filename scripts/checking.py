"""What scripts/check does: each step over everything, one line with its time, and what it found beneath."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts import import_rules, sizes, typing_check

ROOT = Path(__file__).parents[1]
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
    parser.add_argument("--all", action="store_true", help="check the types of unchanged files too")
    options = parser.parse_args(words)
    fix = options.fix
    steps = [
        Step("format", lambda: _tool("ruff", "format", *(() if fix else ("--check",)), ".")),
        Step("lint", lambda: _tool("ruff", "check", *(("--fix",) if fix else ()), "--output-format=concise", ".")),
        Step("sizes", _sizes),
        Step("imports", _imports),
        Step("types", lambda: _types(options.all)),
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


def _types(anew: bool) -> Result:
    try:
        checked, errors = typing_check.problems(anew=anew)
    except typing_check.PyrightFailed as failed:
        return Result(False, "pyright did not run", (*str(failed).splitlines(),))
    return Result(not errors, f"{checked} files new or changed, {len(errors)} errors", (*errors,))


def _python_files() -> list[Path]:
    files = (path for folder in CHECKED for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in (*files, ROOT / "install.py") if not {"vendor", "node_modules"} & set(path.parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
