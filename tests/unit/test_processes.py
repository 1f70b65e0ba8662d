"""Processes by their numbers: who lives, who is stopped, and who only has not been asked about yet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from bridge.jobs import local
from bridge.processes import began, is_alive, is_stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_one_that_lives_is_known_by_when_it_began(process: subprocess.Popen[bytes]) -> None:
    assert is_alive(process.pid) and not is_stopped(process.pid)
    assert began(process.pid) == began(process.pid) != ""
    assert local._lives(local._name(process.pid))
    assert not local._lives(f"{local.OWNER} {process.pid} 1") and not local._lives(local.OWNER)


def test_one_that_is_stopped_is_alive(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    assert until(lambda: is_stopped(process.pid)) and is_alive(process.pid)


def test_one_that_ended_and_was_not_waited_for_is_gone(process: subprocess.Popen[bytes]) -> None:
    """A command that was killed where nobody asks about it: what it had at a service must be taken up by the next."""
    name = local._name(process.pid)
    process.kill()
    assert until(lambda: not is_alive(process.pid)) and not local._lives(name)
    assert os.path.exists(f"/proc/{process.pid}") or sys.platform != "linux"


def test_one_that_is_not_there(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert not is_alive(process.pid) and not is_stopped(process.pid) and began(process.pid) == ""
