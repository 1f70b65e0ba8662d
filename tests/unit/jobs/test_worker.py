"""The worker process by itself, at the end of two pipes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from bridge.jobs.spool import PICTURE, layer_path
from bridge.jobs.workshop import WORKER_COMMAND

from bridge.jobs.worker import Clock
from tests.unit.trial.bridge import WORKER
from tests.unit.trial.client import noise

ORDER = {
    **{"do": "run", "job": "j", "backend": "trial", "handle": None},
    **{
        "width": 32,
        "height": 32,
        "channels": "RGBA",
        "model": "RGBA",
        "depth": "U8",
        "view": False,
        "profile_bytes": 0,
    },
}


class Worker:
    def __init__(self, command: tuple[str, ...] = WORKER, **options: Any) -> None:
        self.process = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def say(self, **order: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def hear_until(self, *kinds: str) -> dict[str, Any]:
        while (event := self.hear())["event"] not in kinds:
            pass
        return event

    def leave(self, seconds: float = 5) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(seconds)


def test_the_time_left_is_the_estimates_then_the_steps() -> None:
    assert Clock(estimated=10, taken=4).left(1, 6) == 6
    assert Clock(estimated=10, taken=12).left(2, 6) == 24
    assert Clock(estimated=10, taken=12).left(0, 1) is None
    assert Clock(estimated=10, taken=12).left(6, 6) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / PICTURE).write_bytes(noise(32, 32).tobytes())
    return tmp_path


def test_it_ends_when_its_pipe_is_closed_even_in_the_middle_of_work(folder: Path) -> None:
    """What ends it on systems whose kernel does not: the bridge's death closes the pipe."""
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={"prompt": "deaf 60"})
    worker.hear_until("progress")
    began = time.monotonic()
    assert worker.leave() == 0
    assert time.monotonic() - began < 3


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_it_ends_with_its_parent_even_while_its_pipe_is_held_open_elsewhere(folder: Path) -> None:
    start = "import os, subprocess, sys; subprocess.run([*sys.argv[1:], str(os.getpid())])"
    reading, writing = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", start, *WORKER], stdin=reading, stdout=subprocess.PIPE, text=True)
    try:
        order = {**ORDER, "folder": str(folder), "settings": {"prompt": "deaf 60"}}
        os.write(writing, json.dumps(order).encode() + b"\n")
        assert parent.stdout is not None and json.loads(parent.stdout.readline())["event"] == "taken"
        [worker] = psutil.Process(parent.pid).children()
        parent.kill()
        parent.wait(5)
        _, alive = psutil.wait_procs([worker], 3)
        assert alive == []
    finally:
        os.close(writing), os.close(reading)


def test_a_layer_is_told_of_only_when_its_file_is_whole(folder: Path) -> None:
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={})
    outlines = worker.hear_until("stack")["layers"]
    told: set[int] = set()
    while (event := worker.hear())["event"] == "layer":
        _, _, (_, _, width, height) = outlines[event["index"]]
        assert layer_path(folder, event["index"]).stat().st_size == width * height * 4
        told.add(event["index"])
    assert event["event"] == "done" and told == set(range(len(outlines)))
    assert not list(folder.glob("*.part"))
    worker.leave()


def test_what_libraries_print_stays_out_of_the_pipe_and_of_its_errors(folder: Path) -> None:
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={"prompt": "print mermaid"})
    assert worker.hear_until("done", "error")["event"] == "done"
    worker.leave()
    assert worker.process.stderr is not None and worker.process.stderr.read() == ""


def test_a_bug_is_told_by_its_place_not_by_its_words(folder: Path) -> None:
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={"prompt": "bug mermaid"})
    error = worker.hear_until("error")
    assert error["where"].startswith("ValueError < backends.py:") and "mermaid" not in json.dumps(error)
    worker.leave()


def test_a_cancel_for_one_job_leaves_the_next_alone(folder: Path) -> None:
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={"prompt": "slow 60"})
    worker.hear_until("progress")
    worker.say(do="cancel", job="j")
    assert worker.hear_until("error")["code"] == "cancelled"
    worker.say(**{**ORDER, "job": "k"}, folder=str(folder), settings={})
    assert worker.hear_until("done", "error")["event"] == "done"
    worker.leave()


def test_nothing_is_done_with_a_handle_that_could_not_be_written_down(folder: Path) -> None:
    """The bridge's disk is full: it gives the job up instead of letting it go on."""
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={"prompt": "remote /nowhere"})
    assert worker.hear_until("handle", "error") == {"event": "handle", "job": "j", "text": "remote-7"}
    worker.say(do="cancel", job="j")
    end = worker.hear_until("stack", "done", "error", "progress")
    assert (end["event"], end["code"], end["where"]) == ("error", "cancelled", ""), end
    assert worker.leave() == 0


def test_the_bridges_own_worker_starts_from_any_folder_and_imports_nothing_from_it(tmp_path: Path) -> None:
    for name in ("bridge", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder of pictures')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    worker = Worker(WORKER_COMMAND, cwd=tmp_path, env=environment)
    worker.say(do="backends", id=1)
    answer = worker.hear()
    assert answer["event"] == "answer" and answer["backends"][0]["default"]
    assert "trial" not in {offer["name"] for offer in answer["backends"]}
    worker.leave()
