"""Finds the Kritas of this machine: where each keeps its plugins and its settings.

Standard library only, for Python 3.9 and later, as all of this package: install.py uses it too.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class Krita:
    """One Krita.

    title: how to call it; resources: the folder that holds pykrita/; kritarc: its settings file; sandboxed: it can
    start no program outside its box.
    """

    title: str
    resources: Path
    kritarc: Path
    sandboxed: bool = False

    @property
    def plugins(self) -> Path:
        return self.resources / "pykrita"


def find() -> list[Krita]:
    """Every Krita found: by its program, its package, or the resources it has left in the user's home."""
    return list(_found())


def at(resources: Path) -> Krita:
    """The Krita whose resources the user names; its settings are the known ones of that place, or else the usual."""
    resources = resources.expanduser().absolute()
    known = [usual(), flatpak(), snap()]
    return next((krita for krita in known if krita.resources == resources), Krita("Krita", resources, usual().kritarc))


def usual() -> Krita:
    """Krita as installed by its own installer, a distribution's package or an AppImage."""
    home = Path.home()
    if sys.platform == "win32":
        roaming = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return Krita("Krita", roaming / "krita", local / "kritarc")
    if sys.platform == "darwin":
        return Krita("Krita", home / "Library/Application Support/krita", home / "Library/Preferences/kritarc")
    return Krita(
        "Krita",
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "krita",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "kritarc",
    )


def flatpak() -> Krita:
    """Krita as a Flatpak, which keeps its own data and settings."""
    own = Path.home() / ".var/app/org.kde.krita"
    return Krita("Krita (Flatpak)", own / "data/krita", own / "config/kritarc", sandboxed=True)


def snap() -> Krita:
    """Krita as a snap, which has a home of its own."""
    own = Path.home() / "snap/krita/current"
    return Krita("Krita (snap)", own / ".local/share/krita", own / ".config/kritarc", sandboxed=True)


def program() -> Optional[str]:
    """The program of the usual Krita, where it can be found."""
    named = shutil.which("krita")
    # /snap/bin/krita starts the snap, not a usual Krita.
    if named and not named.startswith("/snap/"):
        return named
    return next((str(place) for place in _programs() if place.exists()), None)


def _found() -> Iterator[Krita]:
    if program() or usual().resources.is_dir():
        yield usual()
    if sys.platform.startswith("linux"):
        exported = Path("/var/lib/flatpak/app/org.kde.krita"), Path.home() / ".local/share/flatpak/app/org.kde.krita"
        if any(place.exists() for place in exported) or flatpak().resources.is_dir():
            yield flatpak()
        if Path("/snap/krita").exists() or (Path.home() / "snap/krita/current").is_dir():
            yield snap()


def _programs() -> Iterator[Path]:
    if sys.platform == "win32":
        for variable in ("ProgramFiles", "ProgramW6432"):
            folder = os.environ.get(variable)
            if folder:
                yield from sorted(Path(folder).glob("Krita*/bin/krita.exe"))
    elif sys.platform == "darwin":
        yield Path("/Applications/krita.app")
        yield Path.home() / "Applications/krita.app"
    else:
        yield Path("/usr/bin/krita")
        for folder in ("Applications", "Downloads", "Desktop", "bin", ".local/bin"):
            yield from sorted((Path.home() / folder).glob("[Kk]rita*.[Aa]pp[Ii]mage"))
