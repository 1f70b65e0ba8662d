import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from trial import bridge as trial_bridge
from trial.client import Client

from bridge.protocol import Discovery


def wait_for(what: Callable[[], Any], seconds: float = 10.0) -> Any:
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
    def card(self) -> Discovery:
        card = Discovery.read(self.data)
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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts bridges, on the test's own data folder unless told otherwise; none outlives the test."""
    started: list[Bridge] = []

    def start_one(
        data: Path = tmp_path / "data", *, preexec: Callable[[], None] | None = None, **settings: Any
    ) -> Bridge:
        process = subprocess.Popen(
            [sys.executable, trial_bridge.__file__, str(data), json.dumps(settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
            env={**os.environ, "UNFLATTEN_HOME": str(tmp_path / "elsewhere")},
        )
        bridge = Bridge(data, process)
        started.append(bridge)

        def ready() -> bool:
            assert process.poll() is None, process.stdout and process.stdout.read()
            card = Discovery.read(data)
            return card is not None and card.pid == process.pid

        wait_for(ready)
        return bridge

    yield start_one
    for bridge in started:
        if bridge.process.poll() is None:
            bridge.process.terminate()
            try:
                bridge.process.wait(20)
            except subprocess.TimeoutExpired:
                bridge.process.kill()
        assert bridge.process.stdout is not None
        bridge.process.stdout.close()


@pytest.fixture
def bridge(start: Start) -> Bridge:
    return start()
