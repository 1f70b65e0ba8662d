"""A bridge greets its first client before it has loaded what splits; whoever is greeted waits for that."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.client import status
from bridge.connection_file import Connection, read_connection
from bridge.jobs.database import SCHEMA_VERSION, connect
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.client import Client, noise
from tests.unit.trial.running import Starter, wait_for


class Begun:
    """A bridge that is not waited for until it is ready. slow: seconds that loading takes longer."""

    def __init__(self, data: Path, slow: float = 0.0) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [*trial_bridge.BRIDGE, str(data), json.dumps({"loading": slow} if slow else {})],
            stdout=subprocess.PIPE,
            text=True,
        )

    def card(self) -> Connection:
        return wait_for(self._card, 20)

    def _card(self) -> Connection | None:
        card = read_connection(self.data)
        return card if card is not None and card.pid == self.process.pid else None

    def end(self) -> str:
        """What it said."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Begun]:
    begun = Begun(tmp_path / "data", slow=1.5)
    yield begun
    begun.end()


def test_a_client_is_greeted_before_the_rest_is_loaded_and_its_job_waits_for_it(slow: Begun) -> None:
    card = slow.card()
    began = time.monotonic()
    with Client(card) as client:
        assert client.greeting["type"] == "welcome" and time.monotonic() - began < 1
        assert client.split(noise(64, 64)).kinds()[-1] == "done"
    assert time.monotonic() - began > 1


def test_what_is_asked_while_the_rest_is_loaded_is_answered_then(slow: Begun) -> None:
    slow.card()
    told = status(slow.data)
    assert told is not None and told["pid"] == slow.process.pid


def test_a_bridge_that_is_stopped_while_it_loads_ends_in_order(slow: Begun) -> None:
    slow.card()
    slow.end()
    assert slow.process.returncode == 0 and read_connection(slow.data) is None


def test_a_client_that_leaves_while_the_rest_is_loaded_takes_nothing_with_it(slow: Begun) -> None:
    card = slow.card()
    Client(card).socket.close()
    with Client(card) as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_client_that_was_greeted_is_told_why_nothing_can_be_loaded(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    newer = connect(data / "journal.sqlite")
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    begun = Begun(data, slow=1.0)
    client = Client(begun.card())
    error = client.hear()
    said, _ = begun.process.communicate(timeout=20)
    assert begun.process.returncode == 1 and error["message"] in said and "newer Unflatten" in said
    assert "is running" not in said and read_connection(data) is None


def test_jobs_of_before_a_crash_are_taken_up_with_nobody_asking(start: Starter, tmp_path: Path) -> None:
    bridge = start()
    with bridge.client() as client:
        job = client.start(noise(64, 64), prompt="slow 60")
        wait_for(lambda: client.hear()["type"] == "progress")
    bridge.process.kill()
    bridge.process.wait()
    begun = Begun(bridge.data)
    wait_for(lambda: f"job {job} is taken up again" in (bridge.data / "bridge.log").read_text(), 10)
    begun.process.kill()
    begun.process.communicate(timeout=20)


def test_what_greets_loads_nothing_of_what_splits() -> None:
    show = "import sys, bridge.server.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"pydantic", "sqlite3", "bridge.jobs.engine", "starlette.applications", "typer"} & set(loaded.split())
