"""Puts the plugin into a Krita and turns it on; takes it away again."""

import filecmp
import os
import shutil
import tempfile
from pathlib import Path
from typing import Optional

from bridge.krita import kritarc
from bridge.krita.places import Krita
from installer.environment import Environment
from installer.plugin import NAME, assemble, is_ours, leads_to
from installer.record import PluginRecord, Record
from installer.say import Failure, line


def place_plugin(krita: Krita, environment: Environment, data: Path, record: Record) -> None:
    """Install or update the plugin in `krita`; what was done goes into `record`."""
    if is_ours(krita.plugins) is False:
        raise Failure(
            f"{krita.plugins / NAME} is there already, and this installer did not make it.",
            "move it away, then run this again.",
        )
    known = record.plugins.get(str(krita.resources))
    placed = known or PluginRecord(plugins=str(krita.plugins), kritarc=str(krita.kritarc))
    if not known:
        ours = [krita.plugins, *krita.plugins.parents, *krita.kritarc.parents]
        missing = {folder for folder in ours if not folder.exists()}
        placed.folders = [str(folder) for folder in sorted(missing, reverse=True)]  # a folder after what is in it
    record.plugins[str(krita.resources)] = placed
    with tempfile.TemporaryDirectory() as folder:
        files = assemble(Path(folder), environment, data)
        if _same(Path(folder), krita.plugins, files) and {str(file) for file in files} == set(placed.files):
            line(f"The plugin in {krita.title} is up to date.")
        else:
            assemble(krita.plugins, environment, data)
            placed.files = [str(file) for file in files]
            line(f"{'Updated' if known else 'Put'} the plugin in {krita.plugins}.")
    _turn_on(krita, placed)


def take_plugin_away(placed: PluginRecord, environment: Environment) -> None:
    """Remove the plugin's files and its entry in Krita's settings; other files, and folders that hold some, stay."""
    plugins = Path(placed.plugins)
    if leads_to(plugins) not in (None, str(environment.python)):
        line(f"The plugin in {plugins} is another copy of Unflatten's by now, so it stays.")
        return
    for name in placed.files:
        (plugins / name).unlink(missing_ok=True)
    folder = plugins / NAME
    for cache in sorted(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        _remove_if_empty(inner)
    _remove_if_empty(folder)
    line(f"Removed the plugin from {plugins}.")
    if folder.exists():
        line(f"{folder} holds files that the installer did not put there, so they stay.")
    _turn_off(placed)
    for outer in map(Path, placed.folders):
        _remove_if_empty(outer)


def _turn_on(krita: Krita, placed: PluginRecord) -> None:
    settings = kritarc.read(krita.kritarc)
    now = kritarc.state(settings or b"")
    if now:
        return
    if placed.turned_on and now is False:
        line("You turned the plugin off in Krita, so it stays off: Settings › Configure Krita › Python Plugin Manager.")
        return
    changed, change = kritarc.enable(settings or b"")
    if not placed.turned_on:
        placed.new_kritarc = settings is None
        placed.was = _text(change.was)
        placed.added = _text(change.added) or ""
    kritarc.write(krita.kritarc, changed)
    placed.turned_on = True
    line(f"Turned it on in {krita.kritarc}.")


def _turn_off(placed: PluginRecord) -> None:
    file = Path(placed.kritarc)
    settings = kritarc.read(file)
    if settings is None or not placed.turned_on:
        return
    before = kritarc.undo(settings, kritarc.Change(_bytes(placed.was), _bytes(placed.added) or b""))
    if placed.new_kritarc and not before.strip():
        file.unlink()
    elif before != settings:
        kritarc.write(file, before)
    line(f"Took its entry out of {file}.")


def _same(fresh: Path, placed: Path, files: list[Path]) -> bool:
    _, differing, missing = filecmp.cmpfiles(fresh, placed, [str(file) for file in files], shallow=False)
    return not differing and not missing


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink() and not os.listdir(folder):
        folder.rmdir()


# JSON holds text only: each byte as the character of the same number.
def _text(raw: Optional[bytes]) -> Optional[str]:
    return None if raw is None else raw.decode("latin-1")


def _bytes(text: Optional[str]) -> Optional[bytes]:
    return None if text is None else text.encode("latin-1")
