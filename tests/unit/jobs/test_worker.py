"""The worker process by itself, at the end of two pipes."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from bridge.jobs import drafts
from bridge.jobs.files import PICTURE, image_path, layer_path
from bridge.jobs.job import LayeredFile, LayerImages, RawLayers, RawPicture
from bridge.jobs.live import Clock
from bridge.jobs.plain import output_to_plain, source_to_plain
from bridge.jobs.supervisor import WORKER_COMMAND
from tests.unit.trial.backends import notes
from tests.unit.trial.bridge import WORKER
from tests.unit.trial.client import noise

ORDER: dict[str, Any] = {
    "do": "split",
    "job": "j",
    "backend": "trial",
    "options": {},
    "seed": 7,
    "source": source_to_plain(RawPicture(32, 32)),
    "output": output_to_plain(RawLayers()),
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
    def left(taken: float, step: int, steps: int) -> float | None:
        return Clock(estimated=10, began=time.monotonic() - taken).left(step, steps)

    assert left(4, 1, 6) == pytest.approx(6, abs=0.2)
    assert left(12, 2, 6) == pytest.approx(24, abs=0.2)
    assert left(12, 0, 1) is None
    assert left(12, 6, 6) is None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / PICTURE).write_bytes(noise(32, 32).tobytes())
    monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path))
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
    assert error["where"].startswith("ValueError < drafting.py:") and "mermaid" not in json.dumps(error)
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


def test_a_draft_is_finished_by_another_worker_than_made_it(folder: Path) -> None:
    """As in two lanes: the one may be a graphics card's."""
    first = Worker()
    first.say(**{**ORDER, "do": "draft"}, folder=str(folder), settings={})
    assert first.hear_until("done", "error", "stack")["event"] == "done"
    first.leave()
    assert drafts.has_draft(folder)
    second = Worker()
    second.say(**{**ORDER, "do": "finish", "drafted": 2.5}, folder=str(folder), settings={})
    assert len(second.hear_until("stack")["layers"]) == 5
    report = second.hear_until("done")["report"]
    assert report["draft_seconds"] == 2.5 and report["max_error"] == 0 and report["seed"] == 7
    second.leave()


def test_what_is_sent_to_a_service_is_packed_beside_a_job(folder: Path) -> None:
    worker = Worker()
    worker.say(**ORDER, folder=str(folder), settings={"prompt": "slow 60"})
    worker.hear_until("progress")
    worker.say(do="pack", id=1, folder=str(folder), source=ORDER["source"], settings={}, backend="elsewhere")
    answer = worker.hear_until("answer", "error")
    assert answer["nbytes"] == (folder / "packed.bin").stat().st_size > 0
    worker.leave()


def test_a_model_stays_loaded_for_the_next_picture(folder: Path) -> None:
    worker = Worker()
    for options in ({}, {}, {"shade": 3}):
        worker.say(**{**ORDER, "options": options}, folder=str(folder), settings={})
        assert worker.hear_until("done", "error")["event"] == "done"
    worker.leave()
    assert len(notes(folder, "opened")) == 2


def test_layers_become_image_files_where_those_are_wanted(folder: Path) -> None:
    worker = Worker()
    worker.say(**{**ORDER, "output": output_to_plain(LayerImages("webp"))}, folder=str(folder), settings={})
    saved = dict[int, int]()
    while (event := worker.hear())["event"] not in ("done", "error"):
        if event["event"] == "image":
            saved[event["index"]] = event["nbytes"]
    assert event["event"] == "done" and sorted(saved) == [0, 1, 2, 3, 4]
    for index, nbytes in saved.items():
        assert image_path(folder, index, "webp").stat().st_size == nbytes
    assert not layer_path(folder, 0).exists()
    worker.leave()


def test_a_layered_file_is_whole_when_it_is_told_of(folder: Path) -> None:
    worker = Worker()
    file, sheet = folder / "layers.ora", folder / "sheet.png"
    output = output_to_plain(LayeredFile(str(file), "ora", str(sheet)))
    worker.say(**{**ORDER, "output": output}, folder=str(folder), settings={})
    assert worker.hear_until("done", "error")["event"] == "done"
    assert zipfile.ZipFile(file).testzip() is None and sheet.stat().st_size > 0
    worker.leave()


def test_the_bridges_own_worker_starts_from_any_folder_and_imports_nothing_from_it(tmp_path: Path) -> None:
    for name in ("bridge", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder of pictures')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    worker = Worker(WORKER_COMMAND, cwd=tmp_path, env=environment)
    picture = noise(32, 32)
    (tmp_path / PICTURE).write_bytes(picture.tobytes())
    order = {**ORDER, "backend": "builtin"}
    worker.say(**order, folder=str(tmp_path), settings={"num_layers": 1})
    assert worker.hear_until("done", "error")["event"] == "done"
    worker.say(**{**order, "backend": "trial"}, folder=str(tmp_path), settings={})
    assert worker.hear_until("done", "error")["code"] == "backend_unavailable"
    worker.leave()
