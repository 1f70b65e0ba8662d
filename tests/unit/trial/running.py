"""Bridges of our own, each in its own process, with the trial backend in its worker."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bridge.client import status
from bridge.connection_file import Connection, read_connection
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.client import Client


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `what` answers once that is true."""
    until = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return answer


@dataclass
class Bridge:
    """A running bridge of our own."""

    data: Path
    process: subprocess.Popen[str]

    @property
    def card(self) -> Connection:
        card = read_connection(self.data)
        assert card is not None
        return card

    def client(self, **options: Any) -> Client:
        return Client(self.card, **options)

    @property
    def log(self) -> str:
        return (self.data / "bridge.log").read_text()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, seconds: float = 20) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


Start = Callable[..., Bridge]


class Starter:
    """Starts bridges; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Bridge] = []

    def __call__(
        self,
        data: Path | None = None,
        *,
        preexec: Callable[[], None] | None = None,
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> Bridge:
        """A bridge that is ready. data: its folder, where not the usual one; environment: beside the usual one;
        settings: daemon.serve's, as bridge.py takes them."""
        data = data or self._folder / "data"
        process = subprocess.Popen(
            [*trial_bridge.BRIDGE, str(data), json.dumps(settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
            env={**os.environ, "UNFLATTEN_HOME": str(data), **(environment or {})},
        )
        bridge = Bridge(data, process)
        self._started.append(bridge)

        def ready() -> bool:
            assert process.poll() is None, process.stdout and process.stdout.read()
            card = read_connection(data)
            # it answers this when all is loaded, later than it greets
            return card is not None and card.pid == process.pid and status(data) is not None

        wait_for(ready, 20)
        return bridge

    def stop_all(self) -> None:
        for bridge in self._started:
            if bridge.process.poll() is None:
                _end(bridge)
            assert bridge.process.stdout is not None
            bridge.process.stdout.close()


def _end(bridge: Bridge) -> None:
    """At once: how a bridge ends in order is for the tests of that, and takes a third of a second."""
    workers = bridge.children()
    bridge.process.kill()
    bridge.process.wait(5)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
