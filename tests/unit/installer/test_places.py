"""Where each system's Krita keeps its plugins and settings."""

import sys
from pathlib import Path

import pytest

from bridge.krita import places


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no Krita on PATH and none of this machine's own to be seen."""
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA", "ProgramFiles", "ProgramW6432"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path


def on(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)


def without_usr_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may have Krita at /usr/bin, which is looked at whatever PATH says."""
    real = Path.exists
    hidden = {Path("/usr/bin/krita"), Path("/var/lib/flatpak/app/org.kde.krita"), Path("/snap/krita")}
    monkeypatch.setattr(Path, "exists", lambda self: self not in hidden and real(self))


def put_program(home: Path, name: str = "programs/krita") -> Path:
    program = home / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_linux(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")
    without_usr_bin(monkeypatch)
    assert places.find() == []
    put_program(home)
    [krita] = places.find()
    assert krita.plugins == home / ".local/share/krita/pykrita"
    assert krita.kritarc == home / ".config/kritarc"
    assert not krita.sandboxed


def test_linux_with_folders_of_the_users_choice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    assert places.usual().resources == home / "data/krita"
    assert places.usual().kritarc == home / "config/kritarc"


def test_an_appimage_or_what_one_has_left_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")
    without_usr_bin(monkeypatch)
    image = put_program(home, "Downloads/krita-5.2.6-x86_64.appimage")
    assert places.program() == str(image)
    assert places.find() == [places.usual()]
    image.unlink()
    (home / ".local/share/krita").mkdir(parents=True)
    assert places.find() == [places.usual()]


def test_flatpak_beside_the_usual_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")
    without_usr_bin(monkeypatch)
    put_program(home)
    (home / ".local/share/flatpak/app/org.kde.krita").mkdir(parents=True)
    usual, flatpak = places.find()
    assert usual == places.usual() and flatpak.sandboxed
    assert flatpak.plugins == home / ".var/app/org.kde.krita/data/krita/pykrita"
    assert flatpak.kritarc == home / ".var/app/org.kde.krita/config/kritarc"


def test_snap_has_a_home_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")
    without_usr_bin(monkeypatch)
    (home / "snap/krita/current").mkdir(parents=True)
    [snap] = places.find()
    assert snap.sandboxed and snap.kritarc == home / "snap/krita/current/.config/kritarc"


def test_windows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "win32")
    monkeypatch.setenv("APPDATA", str(home / "Roaming"))
    monkeypatch.setenv("LOCALAPPDATA", str(home / "Local"))
    monkeypatch.setenv("ProgramFiles", str(home / "Program Files"))
    assert places.find() == []
    put_program(home, "Program Files/Krita (x64)/bin/krita.exe")
    [krita] = places.find()
    assert krita.plugins == home / "Roaming/krita/pykrita"
    assert krita.kritarc == home / "Local/kritarc"


def test_macos(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "darwin")
    (home / "Applications/krita.app").mkdir(parents=True)
    [krita] = places.find()
    assert krita.plugins == home / "Library/Application Support/krita/pykrita"
    assert krita.kritarc == home / "Library/Preferences/kritarc"


def test_a_named_folder_brings_the_settings_that_belong_to_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")
    assert places.at(home / ".var/app/org.kde.krita/data/krita") == places.flatpak()
    elsewhere = places.at(Path("~/elsewhere"))
    assert elsewhere.resources == home / "elsewhere" and elsewhere.kritarc == places.usual().kritarc
