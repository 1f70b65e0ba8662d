"""What is installed, what is missing and how to get it, and where things are: `unflatten doctor`."""

import json
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bridge import __version__
from bridge.backends.choice import offers
from bridge.backends.shelf import Finding, shelves
from bridge.client import status
from bridge.command.status import described
from bridge.connection_file import CONNECTION_FILE, data_dir, read_connection
from bridge.krita import kritarc, places
from bridge.weights import Weights, check_weights

PACKAGES = ("numpy", "opencv-contrib-python-headless", "onnxruntime", "rapidocr", "pillow", "psd-tools", "websockets")
AGAIN = "Run “python3 install.py” again."
LOGS = ("bridge.log", "worker.log")


@dataclass(frozen=True)
class Findings:
    """needed: what Unflatten cannot do without; optional: what it can; places: where things are."""

    needed: list[Finding]
    optional: list[Finding]
    places: dict[str, str]

    @property
    def healthy(self) -> bool:
        return all(finding.well for finding in self.needed)

    def as_dict(self) -> dict[str, Any]:
        return {"version": __version__, "healthy": self.healthy, **asdict(self)}


def examine() -> Findings:
    """Look at everything. Nothing is changed by it."""
    data = data_dir()
    backends = [(bool(told["default"]), _backend(told)) for told in offers()]
    needed = [
        Finding("Python", f"{platform.python_version()} at {sys.executable}"),
        *(_package(name) for name in PACKAGES),
        *(_weights(weights) for weights in check_weights()),
        *(finding for default, finding in backends if default),
    ]
    optional = [
        *(finding for default, finding in backends if not default),
        *(finding for _, shelf in shelves() for finding in shelf.findings()),
        *_kritas(),
        _bridge(data),
    ]
    return Findings(needed, optional, _places(data))


def report(found: Findings) -> str:
    """The findings for people."""
    lines = [f"Unflatten {__version__}"]
    for finding in (*found.needed, *found.optional):
        mark = "ok" if finding.well else "--" if finding.off else "!!"
        lines.append(f"  {mark}  {finding.what}: {finding.told}")
        if not finding.well and finding.remedy:
            lines.append(f"      {finding.remedy}")
    lines += [f"      {name}: {place}" for name, place in found.places.items()]
    lines.append(_verdict(found))
    return "\n".join(lines)


def _verdict(found: Findings) -> str:
    if not found.healthy:
        return "Something that is needed is missing: see the lines with !!."
    if any(not (finding.well or finding.off) for finding in found.optional):
        return "All that is needed is there; the lines with !! say what else is to be done."
    return "All is well."


def _places(data: Path) -> dict[str, str]:
    program = Path(__file__).parents[2]
    logs = [str(data / name) for name in LOGS if (data / name).is_file()]
    return {"Program": str(program), "Data and results": str(data), "Logs": ", ".join(logs) or "none yet"}


def _package(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", False, AGAIN)


def _backend(told: dict[str, object]) -> Finding:
    name = f"Splitter “{told['name']}”"
    if told["unavailable"]:
        return Finding(name, str(told["unavailable"]), False, str(told["remedy"]), off=not told["default"])
    return Finding(name, f"{told['title']}, {told['cost']}")


def _weights(weights: Weights) -> Finding:
    told = weights.problem or "whole"
    return Finding(f"Weights {weights.file.name}", told, not weights.problem, "Get a complete copy of Unflatten.")


def _kritas() -> list[Finding]:
    found = places.find()
    return [_krita(krita) for krita in found] or [Finding("Krita", "not found", False, f"Install Krita. {AGAIN}")]


def _krita(krita: places.Krita) -> Finding:
    """Is the plugin in this Krita, turned on, and does it lead to this very bridge?"""
    name = f"{krita.title} {_version(krita)}".strip()
    settings = krita.plugins / "unflatten" / "bridge.json"
    if not settings.is_file():
        return Finding(name, "the plugin is not in it", False, AGAIN)
    if not kritarc.state(kritarc.read(krita.kritarc) or b""):
        remedy = "In Krita: Settings › Configure Krita › Python Plugin Manager, tick Unflatten, restart Krita."
        return Finding(name, "the plugin is there, but turned off", False, remedy)
    if not _leads_here(settings):
        return Finding(name, "its plugin starts another copy of Unflatten", False, f"To use this one: {AGAIN}")
    return Finding(name, f"the plugin is there and turned on ({krita.plugins})")


def _version(krita: places.Krita) -> str:
    """Its version, where a package manager tells: Krita itself would need a screen to say it."""
    if krita.title == places.flatpak().title:
        told = re.search(r"Version: *([\d.]+)", _answer("flatpak", "info", "org.kde.krita"))
    elif krita.title == places.usual().title:
        told = re.search(r"(?:\d+:)?([\d.]+)", _answer("dpkg-query", "-W", "-f", "${Version}", "krita"))
    else:
        told = None
    return told.group(1) if told else ""


def _leads_here(settings: Path) -> bool:
    """Does the plugin that these settings belong to start the bridge that this very process is part of?"""
    try:
        return Path(json.loads(settings.read_text("utf-8"))["python"]).parent == Path(sys.executable).parent
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _answer(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _bridge(data: Path) -> Finding:
    told = status(data)
    if told is None and read_connection(data):
        gone = f"{data / CONNECTION_FILE} tells of a bridge that does not answer; the next start replaces it."
        return Finding("Bridge", gone)
    if told and told["version"] != __version__:
        return Finding("Bridge", f"version {told['version']} is still running", False, "Run “unflatten stop”.")
    return Finding("Bridge", described(told).replace("\n", " "))
