"""The plugin is of Krita's Python, whichever that is: 3.9 to 3.14."""

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = "arguments connection errors job krita_api launch manifest pixels protocol upload wire"
WITHOUT_KRITA = f"import {', '.join(f'unflatten.{name}' for name in MODULES.split())}"


def test_every_file_is_syntax_of_python_3_9(assembled: Path) -> None:
    files = list((assembled / "unflatten").rglob("*.py"))
    assert len(files) > 20
    for file in files:
        ast.parse(file.read_text("utf-8"), str(file), feature_version=(3, 9))


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_it_imports_without_krita_and_without_site_packages(assembled: Path, version: str) -> None:
    python = shutil.which(f"python{version}")
    works = python and subprocess.run([python, "-c", "pass"], capture_output=True).returncode == 0
    if not works:
        pytest.skip(f"Python {version} is not here.")
    run = subprocess.run([str(python), "-S", "-B", "-c", WITHOUT_KRITA], cwd=assembled, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
