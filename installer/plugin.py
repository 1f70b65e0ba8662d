"""Assembles what Krita loads: the plugin, the files shared with the bridge, a WebSocket client, where the bridge is."""

import json
import shutil
from pathlib import Path
from typing import Optional

from installer.environment import Environment
from installer.manual import manual

NAME = "unflatten"
ROOT = Path(__file__).resolve().parent.parent
SHARED = ("protocol.py", "connection_file.py", "manifest.py", "atomic_text.py")
"""Files of the bridge that the plugin runs too. Each needs only the standard library."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "vendor")


def assemble(target: Path, environment: Environment, data: Path) -> list[Path]:
    """Put `unflatten.desktop` and `unflatten/` into `target`, a folder that Krita (or a test's PYTHONPATH) reads.

    data: the folder where plugin and bridge find each other; written down because a Flatpak's own differs.
    Returns the files, relative to `target`. What stood there before is replaced only when the new one is whole.
    """
    target.mkdir(parents=True, exist_ok=True)
    fresh = target / f".{NAME}-new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        shutil.copytree(ROOT / "plugin" / NAME, fresh, ignore=LEFT_OUT)
        for name in SHARED:
            shutil.copy(ROOT / "bridge" / name, fresh)
        _put_websockets(fresh / "vendor", environment)
        (fresh / "Manual.html").write_text(manual((ROOT / "README.md").read_text("utf-8")), "utf-8")
        told = {"python": str(environment.python), "data": str(data)}
        (fresh / "bridge.json").write_text(json.dumps(told, indent=1, ensure_ascii=False), "utf-8")
        files = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file())
        _swap(fresh, target / NAME)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.copy(ROOT / "plugin" / f"{NAME}.desktop", target)
    return [Path(f"{NAME}.desktop"), *(Path(NAME) / file for file in files)]


def is_ours(target: Path) -> Optional[bool]:
    """Is the plugin in `target` one that `assemble` put there? None where there is nothing."""
    folder = target / NAME
    if not folder.exists() and not folder.is_symlink():
        return None
    return not folder.is_symlink() and (folder / "bridge.json").is_file()


def leads_to(target: Path) -> Optional[str]:
    """The Python that the plugin in `target` starts the bridge with; None where that cannot be read."""
    try:
        return str(json.loads((target / NAME / "bridge.json").read_text("utf-8"))["python"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put_websockets(vendor: Path, environment: Environment) -> None:
    """Copy the pinned pure-Python WebSocket client and its licence; it is fetched once and kept in the environment."""
    lock = ROOT / "plugin" / "requirements.lock"
    kept = environment.folder / "plugin-vendor"
    if not (kept / "requirements.lock").is_file() or (kept / "requirements.lock").read_bytes() != lock.read_bytes():
        shutil.rmtree(kept, ignore_errors=True)
        environment.install("--target", kept, "--requirement", lock)
        shutil.copy(lock, kept)
    shutil.copytree(
        kept / "websockets", vendor / "websockets", ignore=shutil.ignore_patterns("__pycache__", "*.c", "cli.py")
    )
    for licence in sorted(kept.glob("websockets-*.dist-info/**/LICENSE*")):
        shutil.copy(licence, vendor / "websockets")
    (vendor / "__init__.py").write_text("", "utf-8")


def _swap(fresh: Path, place: Path) -> None:
    """Put the folder `fresh` where `place` is, by renaming."""
    old = place.with_name(f".{place.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)
