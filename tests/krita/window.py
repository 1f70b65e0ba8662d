"""A real Krita in a window of its own X server, driven by keys from outside and by the test driver from inside."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).parent / "driver"
NEEDED = ("krita", "kritarunner", "Xvfb", "openbox", "xdotool", "import")


def missing_programs() -> list[str]:
    return [name for name in NEEDED if shutil.which(name) is None]


def wait_for(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.05) -> Any:
    """The first true value of `condition`; fails with `what` when there is none within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"Waited {seconds:g} s in vain for {what}.")
        time.sleep(every)


class Screen:
    """An X server with a window manager: without one Krita never gets the focus, and keys go nowhere."""

    def __init__(self, size: str = "1600x1000") -> None:
        read, write = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp"],
            pass_fds=[write],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as answer:
            self.display = f":{answer.readline().strip()}"
        self._manager = subprocess.Popen(
            ["openbox"],
            env={**os.environ, "DISPLAY": self.display},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        for process in (self._manager, self._server):
            process.terminate()
            process.wait(10)


FAL_KEY = secrets.token_hex(32)
"""What a bridge that Krita starts sends to fal; no test sends it further than to this computer."""


class Krita:
    """A running Krita. Unknown attributes are steps of the driver: `krita.open_document(path=…)`."""

    def __init__(self, screen: Screen, home: Path, plugins: Path) -> None:
        self.screen = screen
        self.home = home
        self._socket = home / "driver"
        self.log = home / "krita.log"
        self.plugins = home / ".local/share/krita/pykrita"
        shutil.copytree(plugins, self.plugins)
        shutil.copytree(DRIVER, self.plugins, dirs_exist_ok=True)
        config = home / ".config"
        config.mkdir(parents=True)
        (config / "kritarc").write_text("[python]\nenable_unflatten=true\nenable_unflatten_driver=true\n")
        (home / "run").mkdir(mode=0o700)
        self.environment = {
            "PATH": os.defpath,  # of two Pythons on PATH, Krita takes the first one's library, which lacks PyQt5
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "DISPLAY": screen.display,
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "UNFLATTEN_DRIVER_SOCKET": str(self._socket),
            "FAL_KEY": FAL_KEY,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["krita", "--nosplash"], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._socket.exists, 90, "Krita to start with the test driver")
        wait_for(self._ready, 60, "Krita's window")

    def _ready(self) -> bool:
        with suppress(OSError):
            return bool(self.call("window_is_open"))
        return False

    def call(self, step: str, **arguments: Any) -> Any:
        """What the driver's step returns; its error as an AssertionError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as driver:
            driver.settimeout(120)
            driver.connect(str(self._socket))
            driver.sendall(json.dumps({"step": step, "arguments": arguments}).encode() + b"\n")
            with driver.makefile("rb") as answers:
                line = answers.readline()
        if not line:
            self._process.wait(20)
            last = self.log.read_text(errors="replace")[-6000:]
            raise AssertionError(f"Krita went away ({self._process.returncode}) during {step}: {last}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def __getattr__(self, step: str) -> Callable[..., Any]:
        return lambda **arguments: self.call(step, **arguments)

    def use(self, python: Path, data: Path) -> None:
        """Which bridge the plugin finds or starts, as install.py writes it down."""
        told = {"python": str(python), "data": str(data)}
        (self.plugins / "unflatten" / "bridge.json").write_text(json.dumps(told))

    def wait_until_idle(self, seconds: float = 60) -> None:
        """Until nothing is being taken apart any more."""
        wait_for(lambda: not self.call("running"), seconds, "Unflatten to be done")

    def key(self, keys: str) -> None:
        """Press keys in Krita's main window, as a hand would."""
        self.xdotool("windowactivate", "--sync", str(self.call("window_number")), "key", keys)

    def xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env=self.environment, check=True, timeout=20, stdout=subprocess.DEVNULL)

    def screenshot(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["import", "-window", "root", str(path)], env=self.environment, check=True, timeout=30)
        return path

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
