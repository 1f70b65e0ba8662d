"""install.py from its first line to its last, in a copy of the project, with a home and a Krita of its own.

The environment is there already, as after a first run, so that nothing is fetched; test_environment has how it is made.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from installer.environment import STAMP, Environment
from installer.plugin import assemble

ROOT = Path(__file__).parents[2]
SETTINGS = b"[python]\nenable_comics=true\n\n[theme]\nTheme=Krita dark"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the environment is put together from links")


@dataclass(frozen=True)
class Copy:
    """A copy of the project, and the home of who installs it."""

    root: Path
    home: Path

    def install(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "install.py", *map(str, arguments)],
            cwd=self.root,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )

    @property
    def krita(self) -> Path:
        return self.home / "krita"


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file's bytes, every folder's name."""
    found = sorted(path for path in folder.rglob("*") if ".venv" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("an artist's é")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / "my copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "my copy" / name)
    (folder / "home" / ".config").mkdir(parents=True)
    (folder / "home" / ".config" / "kritarc").write_bytes(SETTINGS)
    made = Copy(folder / "my copy", folder / "home")
    _put_environment(made.root)
    return made


def _put_environment(root: Path) -> None:
    """An environment of the copy's own that borrows this one's packages."""
    environment = Environment(root)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True)
    [packages] = environment.folder.glob("lib/python*/site-packages")
    borrowed = [folder for folder in sys.path if Path(folder).name == packages.name]  # this one may borrow its own
    (packages / "borrowed.pth").write_text("\n".join([str(root), *borrowed, ""]))
    environment.command.write_text(f'#!/bin/sh\nexec "{environment.python}" -m bridge.cli "$@"\n')
    environment.command.chmod(0o755)
    assemble(root.parent / "assembled", Environment(ROOT), root)  # which gets the plugin's client where it never was
    shutil.rmtree(root.parent / "assembled")
    shutil.copytree(Environment(ROOT).folder / "plugin-vendor", environment.folder / "plugin-vendor")
    (environment.folder / STAMP).write_text(json.dumps(environment.wanted(dev=False)))


def test_it_installs_updates_and_goes_without_a_trace(copy: Copy) -> None:
    before = tree(copy.root), tree(copy.home)

    first = copy.install("--krita-resources", copy.krita)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    assert f"Put the plugin in {copy.krita / 'pykrita'}." in first.stdout
    assert "Press Ctrl+Alt+U" in first.stdout
    assert b"enable_unflatten=true\n" in (copy.home / ".config" / "kritarc").read_bytes()
    card = json.loads((copy.krita / "pykrita" / "unflatten" / "bridge.json").read_text("utf-8"))
    assert card["python"] == str(Environment(copy.root).python)
    assert (copy.root / "sample.ora").stat().st_size > 100_000
    with Image.open(copy.root / "sample-layers.png") as sheet:
        assert sheet.width > 600
    ignored = subprocess.run(["git", "check-ignore", "sample.ora", "sample-layers.png", "installed.json"], cwd=ROOT)
    assert ignored.returncode == 0  # and so `git status` stays clean

    installed = tree(copy.home)
    second = copy.install("--krita-resources", copy.krita)
    assert second.returncode == 0 and tree(copy.home) == installed
    assert second.stdout.count("up to date") == 3

    gone = copy.install("--uninstall")
    assert gone.returncode == 0 and gone.stderr == ""
    assert (tree(copy.root), tree(copy.home)) == before
    assert not (copy.root / ".venv").exists()

    again = copy.install("--uninstall")  # nothing is left to take away, and that is no error
    assert again.returncode == 0 and "Removed" not in again.stdout


def test_damaged_weights_stop_it_before_krita_is_touched(copy: Copy) -> None:
    _put_environment(copy.root)
    [weights] = copy.root.rglob("u2netp.onnx")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    try:
        ended = copy.install("--krita-resources", copy.krita)
    finally:
        weights.write_bytes(whole)
    assert ended.returncode == 1
    assert "u2netp.onnx is damaged" in ended.stderr and "Next: get a complete copy of Unflatten" in ended.stderr
    assert not copy.krita.exists()


@pytest.mark.parametrize("arguments", [["--uninstall", "--assemble", "x"], ["--nonsense"]])
def test_a_wish_that_is_none_is_told_with_how_to_ask(copy: Copy, arguments: list[str]) -> None:
    ended = copy.install(*arguments)
    assert ended.returncode == 2 and ended.stderr.startswith("usage: python3 install.py")
