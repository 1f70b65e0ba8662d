"""Whose the data folder and its files are, what a worker is given, and who is said to be running."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bridge import clock
from bridge.connection_file import Connection, read_connection, write_connection
from bridge.jobs.environment import without_secrets
from bridge.own_files import ForeignFolder, claim, open_log
from bridge.processes import is_stopped
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.client import noise
from tests.unit.trial.running import Bridge, Starter, wait_for

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are POSIX's")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


def tried(data: Path) -> str:
    """What a bridge says that cannot start."""
    done = subprocess.run([*trial_bridge.BRIDGE, str(data), "{}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    return done.stdout


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o707])
def test_a_data_folder_that_is_open_to_others_is_closed(start: Starter, tmp_path: Path, mode: int) -> None:
    data = tmp_path / "data"
    (data / "jobs").mkdir(parents=True)
    for folder in (data, data / "jobs"):
        folder.chmod(mode)
    start(data)
    assert stat.S_IMODE(data.stat().st_mode) == stat.S_IMODE((data / "jobs").stat().st_mode) == 0o700


@as_root
@pytest.mark.parametrize("inner", ["", "jobs"])
def test_another_user_s_folder_is_refused(tmp_path: Path, inner: str) -> None:
    data = tmp_path / "data"
    (data / inner).mkdir(parents=True)
    os.chown(data / inner, 12345, 12345)
    assert "belongs to another user" in tried(data)
    with pytest.raises(ForeignFolder):
        claim(data / inner)


@as_root
def test_another_user_s_connection_file_leads_nowhere(tmp_path: Path) -> None:
    write_connection(tmp_path, Connection(1, 1, "a" * 64, "0", 1.0))
    assert read_connection(tmp_path) is not None
    os.chown(tmp_path / "bridge.json", 12345, 12345)
    assert read_connection(tmp_path) is None


@posix
@pytest.mark.parametrize("name", ["bridge.log", "worker.log"])
@pytest.mark.parametrize("hard", [False, True])
def test_a_log_that_is_a_link_is_not_followed(start: Starter, tmp_path: Path, name: str, hard: bool) -> None:
    data, victim = tmp_path / "data", tmp_path / "victim"
    data.mkdir()
    victim.write_text("mine")
    os.link(victim, data / name) if hard else (data / name).symlink_to(victim)
    with start(data).client() as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"
    assert victim.read_text() == "mine" and not (data / name).is_symlink()


@posix
def test_a_pipe_where_a_log_should_be_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.log")
    os.close(open_log(str(tmp_path / "x.log")))
    assert (tmp_path / "x.log").is_file()


@pytest.mark.parametrize("name", ["bridge.log", "bridge.lock", "bridge.json", "jobs", "journal.sqlite", "worker.log"])
def test_what_lies_in_the_place_of_another_is_put_aside_or_said(start: Starter, tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).touch() if name == "jobs" else (data / name).mkdir()
    if name in ("journal.sqlite", "worker.log"):
        with start(data).client() as client:
            assert client.split(noise(64, 64)).kinds()[-1] == "done"
    else:
        said = tried(data)
        assert name in said and "disk is full" not in said


# Who runs already


def test_a_left_over_connection_file_is_not_taken_for_a_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another program's by now, and so may its port."""
    from filelock import FileLock

    from bridge.server import daemon

    monkeypatch.setattr(daemon, "CHANGEOVER", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.1)
        for pid in (os.getpid(), 2**22 - 1):
            write_connection(tmp_path, Connection(1, pid, "a" * 64, "0", 1.0))
            with FileLock(tmp_path / daemon.LOCK_FILE):
                assert daemon.serve(tmp_path) == 1


# A worker


def test_a_worker_has_no_keys(start: Starter) -> None:
    secrets = {"FAL_KEY": "a", "UNFLATTEN_FAL_API_KEY": "b" * 40, "HF_TOKEN": "c", "AWS_SECRET_ACCESS_KEY": "d"}
    bridge = start(environment={**secrets, "HTTPS_PROXY": "http://me:word@proxy:1", "HARMLESS": "e"})
    with bridge.client() as client:
        client.split(noise(64, 64))
    [worker] = bridge.children()
    given = worker.environ()
    assert not {*secrets, "HTTPS_PROXY"} & given.keys()
    assert given["HARMLESS"] == "e" and given["PATH"] and given["UNFLATTEN_HOME"]


@pytest.mark.parametrize(
    "name",
    ["FAL_KEY", "FAL_KEY_SECRET", "GITHUB_PAT", "OPENAI_APIKEY", "hf_token", "PGPASSWORD", "MYSQL_PWD", "NPM_AUTH"],
)
def test_whatever_is_called_like_a_secret_is_left_out(name: str) -> None:
    assert without_secrets({name: "x", "LANG": "C", "DATABASE_URL": "pg://a:b@c/d", "PATH": "/bin"}) == {
        "LANG": "C",
        "PATH": "/bin",
    }


LOOK_EVERY = 0.5


@pytest.fixture
def watchful(start: Starter) -> Bridge:
    """A bridge that looks at its workers more often."""
    return start(bounds={"bridge.jobs.process.LOOK_EVERY": LOOK_EVERY})


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is stopped so there")
def test_a_worker_that_another_program_stops_is_replaced(watchful: Bridge) -> None:
    bridge = watchful
    with bridge.client() as client:
        job = client.start(noise(64, 64), prompt="slow 60")
        wait_for(lambda: client.hear()["type"] == "progress")
        [worker] = bridge.children()
        worker.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        error = client.finish(job).last("error")
        assert (error["code"], error["retryable"]) == ("worker_died", True)
        assert "stopped in the middle by another program" in error["message"]
        assert time.monotonic() - began < 4 * LOOK_EVERY + 2
        assert client.split(noise(64, 64)).kinds()[-1] == "done"
        [worker] = bridge.children()
        worker.send_signal(signal.SIGSTOP)  # an idle one costs no job
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_worker_that_computes_for_long_is_let_be(watchful: Bridge) -> None:
    with watchful.client() as client:
        job = client.start(noise(64, 64), prompt=f"deaf {4 * LOOK_EVERY}")
        assert client.finish(job).kinds()[-1] == "done"
    [worker] = watchful.children()
    assert not is_stopped(worker.pid) and psutil.pid_exists(worker.pid)


# The clock


def test_a_clock_that_is_set_changes_nothing_in_a_process_s_life(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clock.now()
    real = time.time
    for days in (-4000, -8, 8, 4000):
        monkeypatch.setattr(time, "time", lambda days=days: real() + days * 86_400)
        assert 0 <= clock.now() - before < 60 and clock.has_jumped()
    monkeypatch.undo()
    assert not clock.has_jumped() and abs(clock.now() - time.time()) < 60
