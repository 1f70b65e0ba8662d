"""A bridge that the plugin in the tests' Krita finds or starts."""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bridge.connection_file import Connection, read_connection
from tests.krita.scripted_worker import ASKED, SCRIPT


@dataclass
class Bridge:
    """A bridge's folder, and the program that the plugin starts for it."""

    python: Path
    data: Path

    def connection(self) -> Connection | None:
        return read_connection(self.data)

    def script(self, **script: float | str) -> None:
        (self.data / SCRIPT).write_text(json.dumps(script))

    def asked(self) -> dict[str, dict[str, object]]:
        """The settings and options of the last job, as the splitter had them."""
        return json.loads((self.data / ASKED).read_text())

    def processes(self) -> list[psutil.Process]:
        """The bridge and what it started."""
        connection = self.connection()
        if connection is None:
            return []
        with suppress(psutil.NoSuchProcess):
            bridge = psutil.Process(connection.pid)
            return [bridge, *bridge.children(recursive=True)]
        return []

    def kill(self) -> None:
        """As the system would when memory runs out."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def end(self) -> None:
        processes = self.processes()
        for process in processes[:1]:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=15)
        for process in alive:
            process.kill()


def scripted_python(folder: Path) -> Path:
    """A program for the plugin to start in place of Python: “python -m bridge.server” with the scripted worker."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.krita.scripted_bridge\n')
    program.chmod(0o755)
    return program
