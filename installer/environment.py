"""A Python environment beside install.py with exactly what its locks name: `.venv`, the bridge's own, and the way it is
made, which the one for models shares."""

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar, Optional

from installer.run import answer, run
from installer.say import Failure, line

OLDEST = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
STAMP = "unflatten.json"
NAME = r"^([A-Za-z0-9._-]+)=="
"""A package's name, in a lock."""
RETRY = "check the internet connection and the space on the disk, then run this again: it goes on where it stopped."


class Environment:
    """`.venv` in `root`. Finished only with its stamp, which is written last: what was interrupted is mended."""

    name: ClassVar[str] = ".venv"
    title: ClassVar[str] = "the bridge's environment"
    size: str = "200 MB"
    """What its packages are to fetch, the first time."""
    patience: ClassVar[float] = 60
    """Seconds that its Python may take to load them, the first time too, when they are compiled."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / self.name
        programs = self.folder / ("Scripts" if sys.platform == "win32" else "bin")
        ending = ".exe" if sys.platform == "win32" else ""
        self.python = programs / f"python{ending}"
        self.command = programs / f"unflatten{ending}"
        self.uv = shutil.which("uv")

    def make(self, dev: bool) -> bool:
        """Make or update it; True where something changed. What developers need stays once it is there."""
        before = self._stamp()
        dev = dev or bool(before.get("dev"))
        wanted = self.wanted(dev)
        usable = self._runs()
        if usable and before == wanted and self._loads():
            line(f"{_capital(self.title)} is up to date.")
            return False
        updating = usable and self._is_updatable(before)
        if updating:
            line(f"Updating {self.title} ({self.name}).")
        else:
            self._create()
        (self.folder / STAMP).unlink(missing_ok=True)
        self._fill(dev, set(before.get("packages", [])) if updating else set())
        if updating and not self._loads():
            # pip takes a package for installed once its list is there, even where its files are damaged or half there.
            line("Something in it is damaged, so it is made anew.")
            self._create()
            self._fill(dev, set())
        run(self._loading(), f"Starting {self.title}", RETRY)
        (self.folder / STAMP).write_text(json.dumps(wanted, indent=1), "utf-8")
        return True

    def wanted(self, dev: bool) -> dict[str, Any]:
        """What its stamp says once all is in it: for this folder, these packages, from these very files."""
        locks = self._locks(dev)
        inputs = _digest(*locks, self.root / "pyproject.toml")
        return {"root": str(self.root), "dev": dev, "packages": _packages(*locks), "inputs": inputs}

    def _locks(self, dev: bool) -> list[Path]:
        """The files that name what belongs in it."""
        return [self.root / ("requirements-dev.lock" if dev else "requirements.lock")]

    def _is_updatable(self, before: dict[str, Any]) -> bool:
        """Can it be brought up to date in place? before: its stamp, empty where it was never finished."""
        return before.get("root", str(self.root)) == str(self.root)

    def _fill(self, dev: bool, before: set[str]) -> None:
        """Install what the locks name and this project, and remove what only older locks named."""
        packages = self.wanted(dev)["packages"]
        line(f"Installing {len(packages)} packages, about {self.size} to fetch the first time.")
        self._install_locked(dev)
        self._drop(sorted(before - set(packages)))
        self.install("--no-build-isolation", "--editable", self.root, locked=False)

    def _install_locked(self, dev: bool) -> None:
        self.install(*(word for lock in self._locks(dev) for word in ("--requirement", lock)))

    def install(self, *what: object, locked: bool = True) -> None:
        """Install packages: only what is named, only wheels, and only those whose hash the lock holds."""
        safe = ["--require-hashes", "--only-binary", ":all:"] if locked else []
        run([*self._installer("install"), "--no-deps", *safe, *what], "Installing the packages", RETRY)

    def remove(self) -> bool:
        """Remove it; False where there was none, or where it is no environment."""
        if not (self.folder / "pyvenv.cfg").is_file():
            return False
        shutil.rmtree(self.folder)
        return True

    def _installer(self, verb: str) -> list[object]:
        if self.uv:
            return [self.uv, "pip", verb, "--python", self.python]
        # Compiled copies of everything would take 80 MB, most of them never used: `_loading` makes those that are.
        options = ["--yes"] if verb == "uninstall" else ["--no-input", "--no-compile"]
        return [self.python, "-m", "pip", verb, "--disable-pip-version-check", *options]

    def _loading(self) -> list[object]:
        """Loads what the bridge and the command line load: it must, and it compiles that for the first real start."""
        modules = "bridge.server.service, bridge.server.daemon, bridge.cli, bridge.command.doctor, bridge.jobs.work"
        backends = "from bridge.backends import registry; [registry.get(name) for name in registry.names()]"
        return [self.python, "-c", f"import {modules}; {backends}"]

    def _loads(self) -> bool:
        return answer(self._loading(), self.patience) is not None

    def _drop(self, packages: list[str]) -> None:
        """Remove what an older lock had and this one has not."""
        if packages:
            run([*self._installer("uninstall"), *packages], "Removing packages no longer needed", RETRY)

    def _create(self) -> None:
        if self.folder.is_symlink() or (self.folder.exists() and not (self.folder / "pyvenv.cfg").is_file()):
            raise Failure(
                f"{self.folder} is there already and is no Python environment.", "move it away, then run this again."
            )
        if not os.access(self.root, os.W_OK):
            raise Failure(
                f"{self.root} may not be written to, and {self.title} belongs there.",
                "copy the whole folder into your home, then run install.py in that copy.",
            )
        base = find_python()
        if base is None and not self.uv:
            raise Failure(
                f"Unflatten needs Python {_dotted(OLDEST)} or newer; this is Python {_dotted(sys.version_info[:2])}.",
                "install a newer Python, then run this again with it, for example: python3.12 install.py",
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            if self.uv:
                line(f"Making {self.title} ({self.name}) with uv.")
                # Without a Python of our own finding, uv looks for one, and fetches one where there is none.
                python = base or f">={_dotted(OLDEST)}"
                run([self.uv, "venv", "--python", python, self.folder], "Making the environment with uv", RETRY)
            else:
                line(f"Making {self.title} ({self.name}).")
                assert base is not None
                _check_venv(base)
                run([base, "-m", "venv", self.folder], "Making the environment", RETRY)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _runs(self) -> bool:
        """Is there a Python in it, new enough, that starts? Not once the system's is replaced or the folder moved."""
        told = answer([self.python, "-c", "import sys; print(sys.prefix, *sys.version_info[:2], sep='\\n')"])
        if not told:
            return False
        prefix, major, minor = told.splitlines()
        return (int(major), int(minor)) >= OLDEST and Path(prefix).resolve() == self.folder.resolve()

    def _stamp(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / STAMP).read_text("utf-8"))
        except (OSError, ValueError):
            return {}


def find_python() -> Optional[str]:
    """A Python that is new enough: this one, or else another on PATH."""
    if sys.version_info[:2] >= OLDEST:
        # Not sys.executable in an activated environment: ours would die with that one.
        return getattr(sys, "_base_executable", None) or sys.executable
    return next(
        (found for found in map(shutil.which, NEWER_PYTHONS) if found and answer([found, "-c", "0"]) is not None), None
    )


def _check_venv(python: str) -> None:
    """Debian and Ubuntu ship Python without what makes environments, and venv then fails halfway: ask before."""
    if answer([python, "-c", "import ensurepip, venv"]) is not None:
        return
    version = answer([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]) or _dotted(OLDEST)
    raise Failure(
        f"This Python {version} lacks the part that makes environments.",
        f"run “sudo apt install python{version}-venv”, then run this again.",
    )


def _packages(*locks: Path) -> list[str]:
    """The names of the packages in locks."""
    return sorted({name for lock in locks for name in re.findall(NAME, lock.read_text("utf-8"), re.MULTILINE)})


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
