"""kritarunner with the plugin's batch, as a user would call it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.krita.bridges import Bridge


class Runner:
    """A kritarunner of its own home folder; it keeps the home, so that only the first call is slow."""

    def __init__(self, home: Path, plugin: Path) -> None:
        self._home = home
        self._plugin = home / "plugin"
        shutil.copytree(plugin, self._plugin)
        (home / "run").mkdir(mode=0o700)

    def use(self, bridge: Bridge) -> None:
        told = {"python": str(bridge.python), "data": str(bridge.data)}
        (self._plugin / "unflatten" / "bridge.json").write_text(json.dumps(told))

    def batch(self, *arguments: object, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kritarunner", "-s", "unflatten.batch", "-f", "run", "--", *map(str, arguments)],
            env={
                "PATH": os.defpath,  # of two Pythons on PATH, Krita takes the first one's library: no PyQt5
                "LANG": "C.UTF-8",
                "HOME": str(self._home),
                "XDG_RUNTIME_DIR": str(self._home / "run"),
                "QT_QPA_PLATFORM": "offscreen",
                "PYTHONPATH": str(self._plugin),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
