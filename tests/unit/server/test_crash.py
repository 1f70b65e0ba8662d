"""Kill −9 anywhere: nothing lost that was whole, nothing half-written shown as done, no process left over."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from bridge import protocol
from bridge.connection_file import read_connection
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.client import new_job, noise
from tests.unit.trial.running import Bridge, Starter, wait_for


def kill(bridge: Bridge) -> None:
    """Kill the bridge alone, as the system does when memory runs out."""
    os.kill(bridge.process.pid, signal.SIGKILL)
    bridge.process.wait(5)


def states(data: Path) -> dict[str, str]:
    with sqlite3.connect(data / "journal.sqlite") as journal:
        found = dict(journal.execute("SELECT id, state FROM jobs"))
    journal.close()
    return found


# The worker dies


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        ("die 9", "worker_died", "by the system or by another program"),
        ("die 11", "worker_died", "stopped unexpectedly"),
        ("memory", "out_of_memory", "ran out of memory"),
        ("bug", "internal", "went wrong"),
    ],
)
def test_a_worker_that_dies_fails_its_one_job(shared_bridge: Bridge, prompt: str, code: str, words: str) -> None:
    with shared_bridge.client() as client:
        result = client.split(noise(64, 64), prompt=prompt)
        error = result.last("error")
        assert error["code"] == code and words in error["message"] and error["hint"]
        assert client.split(noise(64, 64)).kinds()[-1] == "done"
    assert len(shared_bridge.children()) == 1


def test_a_worker_killed_while_idle_costs_no_job(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        client.split(noise(64, 64))
        for worker in shared_bridge.children():
            worker.kill()
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_the_worker_runs_behind_krita_and_is_the_first_to_go(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        client.split(noise(64, 64))
    [worker] = shared_bridge.children()
    assert worker.nice() > psutil.Process(shared_bridge.process.pid).nice()
    assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text()) >= 500
    assert worker.environ()["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))


# The bridge dies


def test_a_killed_bridge_takes_its_worker_along(bridge: Bridge) -> None:
    with bridge.client() as client:
        client.start(noise(64, 64), prompt="deaf 60")
        wait_for(lambda: client.hear()["type"] == "progress")
        children = bridge.children()
        assert children
        kill(bridge)
    _, alive = psutil.wait_procs(children, 5)
    assert alive == []


def test_a_job_cut_off_is_run_again_and_can_be_fetched(start: Starter) -> None:
    first = start()
    picture = noise(64, 64)
    with first.client() as client:
        job = client.start(picture, prompt="slow 2")
        wait_for(lambda: client.hear()["type"] == "progress")
        kill(first)
    assert states(first.data) == {job: "running"}
    second = start()
    with second.client() as client:
        client.say("attach", job=job)
        result = client.finish(job)
        assert result.kinds()[-1] == "done" and sorted(result.layers) == [0, 1, 2, 3, 4]
        assert np.array_equal(np.concatenate([result.layers[each] for each in (1, 2, 3, 4)]), picture)


def test_a_done_job_can_be_fetched_after_a_kill(start: Starter) -> None:
    first = start()
    with first.client() as client:
        job = client.start(noise(64, 64))
        before = client.finish(job)
        kill(first)
    second = start()
    with second.client() as client:
        client.say("attach", job=job)
        after = client.finish(job)
    assert after.last("done") == before.last("done") and after.last("stack") == before.last("stack")
    assert all(np.array_equal(after.layers[index], pixels) for index, pixels in before.layers.items())


def test_a_job_that_was_cut_off_twice_is_not_run_a_third_time(start: Starter) -> None:
    job = new_job()
    for attempt in range(2):
        bridge = start()
        with bridge.client() as client:
            if attempt == 0:
                client.start(noise(64, 64), prompt="slow 60", job=job)
            else:
                client.say("attach", job=job)
            wait_for(lambda: client.hear()["type"] == "progress")
            kill(bridge)
    with start().client() as client:
        client.say("attach", job=job)
        error = client.finish(job).last("error")
        assert error["code"] == "interrupted" and error["hint"]


def test_what_was_half_written_is_never_shown(start: Starter) -> None:
    first = start()
    whole, torn, old = new_job(), new_job(), new_job()
    with first.client() as client:
        for job in (whole, torn, old):
            client.finish(client.start(noise(64, 64), job=job))
        client.ask(unfinished := new_job(), 1200, 1900)
        client.socket.send(bytes(protocol.CHUNK))
        wait_for(lambda: list((first.data / "jobs" / unfinished).glob("*.part")))
        kill(first)
    layer = first.data / "jobs" / torn / "layer-01.raw"
    layer.write_bytes(layer.read_bytes()[:-1])
    with sqlite3.connect(first.data / "journal.sqlite") as journal:
        # as if the bridge had died between its last layer and the word “done”, with the picture lost
        journal.execute("UPDATE jobs SET state = 'finishing', report = NULL, ended = NULL WHERE id = ?", (old,))
    journal.close()
    second = start()
    assert not (second.data / "jobs" / unfinished).exists()
    with second.client() as client:
        ends = dict[str, str]()
        for job in (whole, torn, old, unfinished):
            client.say("attach", job=job)
            last = client.finish(job).messages[-1]
            ends[job] = last.get("code", last["type"])
    assert ends == {whole: "done", torn: "gone", old: "interrupted", unfinished: "unknown_job"}


def test_a_job_of_yesterday_is_not_taken_up_again(start: Starter) -> None:
    first = start()
    with first.client() as client:
        job = client.start(noise(64, 64), prompt="slow 60")
        wait_for(lambda: client.hear()["type"] == "progress")
        kill(first)
    with sqlite3.connect(first.data / "journal.sqlite") as journal:
        journal.execute("UPDATE jobs SET created = created - 86400")
    journal.close()
    second = start()
    assert states(second.data) == {job: "interrupted"}
    assert not (second.data / "jobs" / job).exists()
    assert second.children() == []


def test_a_stale_card_and_lock_do_not_keep_a_bridge_from_starting(start: Starter) -> None:
    first = start()
    kill(first)
    assert read_connection(first.data) is not None
    second = start()
    assert second.card.pid == second.process.pid
    with second.client() as client:
        assert client.greeting["type"] == "welcome"


def test_a_data_folder_that_was_emptied_is_made_anew(start: Starter) -> None:
    first = start()
    first.stop()
    shutil.rmtree(first.data)
    with start().client() as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_killed_client_leaves_a_job_that_ends(start: Starter) -> None:
    bridge = start(grace=0.5, idle_exit=2, worker_idle=0.5)
    client = bridge.client()
    client.start(noise(64, 64), prompt="slow 3600")
    wait_for(lambda: client.hear()["type"] == "progress")
    client.socket.socket.close()
    began = time.monotonic()
    assert bridge.process.wait(20) == 0
    assert time.monotonic() - began < 15
    assert set(states(bridge.data).values()) == {"cancelled"}


def test_a_damaged_journal_does_not_keep_the_bridge_from_starting(start: Starter) -> None:
    first = start()
    first.stop()
    (first.data / "journal.sqlite").write_bytes(b"torn by a power cut " * 400)
    with start().client() as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_folder_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("a file where the folder should be")
    tried = subprocess.run([*trial_bridge.BRIDGE, str(data), "{}"], capture_output=True, text=True)
    assert tried.returncode == 1
    assert str(data) in tried.stdout and "Traceback" not in tried.stdout + tried.stderr
