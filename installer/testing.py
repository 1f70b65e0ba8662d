"""--test: sets up what the tests need, says what is missing, and runs them."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Optional

from installer.accelerators import named
from installer.environment import Environment
from installer.gpu_environment import GpuEnvironment
from installer.run import answer, clean_environment
from installer.say import Failure, failure, heading, line
from installer.tie import tied

# What the tests drive, by Debian package. Pictures and fonts compose scenes whose layers are known.
PACKAGES = (
    "krita",
    "python3-pyqt5",
    "xvfb",
    "xauth",
    "openbox",
    "xdotool",
    "imagemagick",
    "libgl1-mesa-dri",
    "openclipart-png",
    "tuxpaint-stamps-default",
    "mate-backgrounds",
    "fonts-dejavu-core",
)


EVERYTHING = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""All tests, on as many cores as there are; more than four would only start Krita more often. In the folders' order:
xdist's own puts files of few tests last, of which those in Krita and with kills take longest, one core alone."""


def run_tests(environment: Environment, arguments: list[str]) -> int:
    """Set up, run the checks, then pytest with `arguments` (none: everything).

    Returns an exit code, 0 only where both are good. The tests run also where a check fails: one run shows both.
    """
    heading("Setting up for the tests")
    environment.make(dev=True)
    gpu = None if arguments else GpuTests(environment.root)
    _get_packages()
    if os.environ.get("CI") == "true" and not shutil.which("krita"):
        raise Failure(
            "There is no Krita here, and without it the tests that matter most would be left out.",
            f"as root: apt-get install --no-install-recommends {' '.join(PACKAGES)}",
        )
    heading("Checking format, lint, sizes, imports and types")
    checked = _run_module(environment, "scripts.checking")
    heading("Running the tests")
    tested = _run_module(environment, "pytest", *(arguments or EVERYTHING))
    modelled = gpu.run() if gpu else 0
    if checked:
        line("The tests have run, but scripts/check found something: see above.")
    return tested or checked or modelled


class GpuTests:
    """The tests in the environment for models, which is made, with wheels for the processor, while others run."""

    def __init__(self, root: Path) -> None:
        there = GpuEnvironment.existing(root)
        self.environment = there or GpuEnvironment(root, named("cpu"))
        self._problem: Optional[Failure] = None
        self._seconds = 0.0
        self._making = threading.Thread(target=self._make, name="environment for models", daemon=True)
        self._making.start()

    def run(self) -> int:
        """Wait for the environment, then run its tests; an exit code."""
        heading("Running the tests of models")
        self._making.join()
        if self._problem:
            failure(self._problem)
            return 1
        line(f"Its environment took {self._seconds:.0f} s beside the rest.")
        return _run_module(self.environment, "pytest", "tests/gpu")

    def _make(self) -> None:
        began = time.monotonic()
        try:
            self.environment.make(dev=True)
        except Failure as problem:
            self._problem = problem
        except OSError as problem:
            self._problem = Failure(f"The environment for models could not be made: {problem}.", "mend that.")
        self._seconds = time.monotonic() - began


def _run_module(environment: Environment, *words: str) -> int:
    command = [str(environment.python), "-m", *words]
    return subprocess.run(command, cwd=environment.root, env=clean_environment(), check=False, **tied()).returncode


def _get_packages() -> None:
    """Install the Debian packages that are missing, where that is allowed without asking for a password."""
    if not shutil.which("dpkg-query"):
        wanted = ("krita", "Xvfb", "openbox", "xdotool", "convert")
        missing = [name for name in wanted if not shutil.which(name)]
        if missing:
            line(f"Not here: {', '.join(missing)}. Tests that need them are shown as skipped.")
        return
    missing = _missing()
    if not missing:
        line("Krita and the rest that the tests need are here.")
        return
    right = _right_to_install()
    if right is None:
        line(f"Not here: {', '.join(missing)}. Tests that need them are shown as skipped. To have them:")
        line(f"sudo apt-get install --no-install-recommends {' '.join(missing)}")
        return
    line(f"Fetching {', '.join(missing)}.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = [*right, "apt-get", "--quiet", "--quiet"]
    # Without an update first, a machine with an old list asks for files that are no longer there.
    subprocess.run([*apt, "update"], env=quiet, stdin=subprocess.DEVNULL, check=False)
    subprocess.run(
        [*apt, "install", "--yes", "--no-install-recommends", *missing],
        env=quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    still = _missing()
    if still:
        line(f"Could not be installed: {', '.join(still)}. Tests that need them are shown as skipped.")


def _missing() -> list[str]:
    return [name for name in PACKAGES if answer(["dpkg-query", "-W", "-f", "${db:Status-Status}", name]) != "installed"]


def _right_to_install() -> Optional[list[str]]:
    """What to put before apt-get: nothing as root, sudo where it asks for no password; None where neither."""
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if answer(["sudo", "-n", "true"]) is not None else None
