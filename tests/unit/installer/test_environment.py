"""The bridge's own environment: what is said where it cannot be made, and what is left then (nothing)."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer import environment
from installer.environment import Environment
from installer.plugin import ROOT
from installer.say import Failure

POSIX = pytest.mark.skipif(os.name == "nt", reason="scripts and rights are POSIX's")


BREAKS_OFF = """
if __name__ == "__main__":
    import os, sys
    os.makedirs(sys.argv[1] + "/bin")
    open(sys.argv[1] + "/pyvenv.cfg", "w").close()
    sys.exit("The disk is full.")
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what an environment is made from, in a folder with a space; nothing is fetched in these tests."""
    folder = tmp_path / "my copy"
    folder.mkdir()
    for name in ("pyproject.toml", "requirements.lock"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr("shutil.which", lambda name: None)
    return folder


def python_with(folder: Path, **modules: str) -> str:
    """This very Python, but with `modules` in the place of its own of the same names."""
    shadows = folder / "shadows"
    shadows.mkdir()
    for name, source in modules.items():
        (shadows / f"{name}.py").write_text(source)
    program = folder / "python3"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{shadows}" exec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    return str(program)


def failure(root: Path) -> Failure:
    with pytest.raises(Failure) as told:
        Environment(root).make(dev=False)
    assert not (root / ".venv" / environment.STAMP).exists()
    return told.value


@POSIX
def test_debians_python_without_venv_gets_the_exact_remedy(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = python_with(tmp_path, ensurepip="raise ImportError")
    monkeypatch.setattr(environment, "find_python", lambda: bare)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    told = failure(root)
    assert told.message == f"This Python {version} lacks the part that makes environments."
    assert told.next_step == f"run “sudo apt install python{version}-venv”, then run this again."
    assert not (root / ".venv").exists()


@POSIX
def test_what_breaks_off_halfway_leaves_no_half_environment(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = python_with(tmp_path, venv=BREAKS_OFF)
    monkeypatch.setattr(environment, "find_python", lambda: broken)
    told = failure(root)
    assert "Making the environment failed." in told.message and "disk is full" in told.message
    assert not (root / ".venv").exists()


def test_a_python_that_is_too_old(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 9, "final", 0))
    told = failure(root)
    assert told.message == "Unflatten needs Python 3.11 or newer; this is Python 3.10."
    assert "install a newer Python" in told.next_step


def test_something_else_of_that_name_stays(root: Path) -> None:
    (root / ".venv").mkdir()
    (root / ".venv" / "diary.txt").write_text("mine")
    assert "is no Python environment" in failure(root).message
    assert not Environment(root).remove()
    assert (root / ".venv" / "diary.txt").read_text() == "mine"


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """A folder that everybody may read and only its owner write to, outside pytest's private ones."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        yield Path(folder)


@POSIX
def test_a_folder_that_may_not_be_written_to(others_folder: Path) -> None:
    """As another user where this one is root, whom no mode keeps out."""
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from installer.environment import Environment; from installer.say import Failure\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setuid(65534)\n"
        "try: Environment(Path(sys.argv[2]))._create()\n"
        "except Failure as told: print(told.message, told.next_step)\n"
    )
    told = subprocess.run([sys.executable, "-c", script, ROOT, others_folder], capture_output=True, text=True)
    assert "may not be written to" in told.stdout and "copy the whole folder into your home" in told.stdout, told.stderr
    assert not list(others_folder.iterdir())


@POSIX
def test_an_environment_that_was_moved_is_made_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs name the old place: they would start another copy's packages, or nothing."""
    first = Environment(root)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", first.folder], check=True)
    assert first._runs()
    moved = root.with_name("moved")
    root.rename(moved)
    first.folder.mkdir(parents=True)
    assert not Environment(moved.with_name("nowhere"))._runs()
    (moved / ".venv" / environment.STAMP).write_text(f'{{"root": "{root}"}}')
    monkeypatch.setattr(environment, "find_python", lambda: None)
    with pytest.raises(Failure, match="needs Python"):  # it asks for a Python to make it anew with
        Environment(moved).make(dev=False)
