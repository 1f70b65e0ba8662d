"""What was put where, so that --uninstall takes away exactly that: `installed.json` beside install.py."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

FILE = "installed.json"


@dataclass
class PluginRecord:
    """The plugin in one Krita. plugins: its pykrita folder, which has `files`; folders: made for it, inner first."""

    plugins: str
    kritarc: str
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    turned_on: bool = False
    was: Optional[str] = None
    """The entry of kritarc that stood there before; None where there was none."""
    added: str = ""
    new_kritarc: bool = False


@dataclass
class Record:
    """code: digest of the bridge's own files; results: file name of a sample's result → its sha256."""

    code: str = ""
    plugins: dict[str, PluginRecord] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load(root: Path) -> "Record":
        try:
            told: dict[str, Any] = json.loads((root / FILE).read_text("utf-8"))
            plugins = {name: PluginRecord(**plugin) for name, plugin in told["plugins"].items()}
            return Record(str(told["code"]), plugins, dict(told["results"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Record()

    def save(self, root: Path) -> None:
        fresh = root / (FILE + ".new")
        fresh.write_text(json.dumps(asdict(self), indent=1), "utf-8")
        os.replace(fresh, root / FILE)


def digest(*files: Path) -> str:
    """One sha256 over the contents of `files`."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
