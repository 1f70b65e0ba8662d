"""The command line as a user runs it: a process, what it prints, and how it ends."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from bridge.cli import main
from tests.unit.trial.backends import notes

ROOT = Path(__file__).parents[3]
WITH_TRIAL = "tests.unit.trial.command"
PATIENCE = 120
_OVERRIDES = "-dac_override,-dac_read_search"
LIKE_ANYONE = ("setpriv", "--bounding-set", _OVERRIDES, "--inh-caps", _OVERRIDES) if os.geteuid() == 0 else ()


@dataclass(frozen=True)
class CommandLine:
    """Commands run in `folder`, with a home of their own. trial: may they name the trial backends? bounded: do
    permissions hold for them, even where root runs them?"""

    folder: Path
    trial: bool = False
    bounded: bool = False

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def data(self) -> Path:
        return self.home / ".local" / "share" / "unflatten"

    def words(self, *arguments: object) -> list[str]:
        module = WITH_TRIAL if self.trial else "bridge.cli"
        before = LIKE_ANYONE if self.bounded else ()
        return [*before, sys.executable, "-m", module, *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        self.home.mkdir(exist_ok=True)
        dropped = ("UNFLATTEN_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CI")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {**kept, "HOME": str(self.home), "USERPROFILE": str(self.home), "PYTHONPATH": str(ROOT)}

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*arguments),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """A process group of its own, as a terminal makes one for each command."""
        return subprocess.Popen(
            self.words(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_work(self, process: subprocess.Popen[str], workers: int) -> list[int]:
        """Wait until so many trial backends are at work; the numbers of their processes."""
        until = time.monotonic() + PATIENCE
        while len(started := notes(self.data, "at work")) < workers:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        return [int(number) for number in started]

    def names(self) -> set[str]:
        return names_in(self.folder, self.home)


@dataclass(frozen=True)
class Here:
    """The same in this process, for the many that end before any work: a process each would take a second."""

    folder: Path
    home: Path
    output: pytest.CaptureFixture[str]

    @property
    def data(self) -> Path:
        return self.home / ".local" / "share" / "unflatten"

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        words = ["unflatten", *map(str, arguments)]
        before, sys.argv = sys.argv, words
        self.output.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        else:
            code = 0
        finally:
            sys.argv = before
        told = self.output.readouterr()
        return subprocess.CompletedProcess(words, code, told.out, told.err)

    def names(self) -> set[str]:
        return names_in(self.folder, self.home)


def names_in(folder: Path, home: Path) -> set[str]:
    """What lies in `folder`, hidden files too, without the home."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if home not in (path, *path.parents)}


def shapes(path: Path, size: tuple[int, int] = (320, 240)) -> Path:
    """A picture with a disc and a box, which every splitter tells apart."""
    image = Image.new("RGB", size, (240, 230, 210))
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.ellipse((width // 8, height // 3, width // 8 + height // 3, 2 * height // 3), (200, 40, 30))
    draw.rectangle((5 * width // 8, height // 2, 7 * width // 8, 3 * height // 4), (30, 80, 180))
    image.save(path)
    return path
