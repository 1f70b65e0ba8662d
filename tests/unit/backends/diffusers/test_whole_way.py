"""A model in its own environment, through the real daemon: loaded once, shown early, cancelled, killed, let go."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from bridge.connection_file import read_connection
from tests.unit.backends.diffusers.conftest import ROOT, add_model
from tests.unit.trial.client import Client, Result
from tests.unit.trial.running import wait_for

PATIENCE = 240.0
KEEP_ALIVE = 15.0
"""Seconds: more than a busy computer takes between the end of one draft and the next."""
QUICK = {"num_inference_steps": 1, "num_layers": 2, "guidance_scale": 1.0, "acceleration": "none", "seed": 1}
Given = dict[str, Any]


def grey(width: int = 640, height: int = 640) -> np.ndarray[Any, Any]:
    """An opaque picture that the painter's layers show, whatever the seed."""
    picture = np.full((height, width, 4), 128, np.uint8)
    picture[..., :3] += np.random.default_rng(2).integers(0, 5, (height, width, 1), np.uint8)
    picture[..., 3] = 255
    return picture


class Daemon:
    """A bridge as users start it, with the painter for its model."""

    def __init__(self, data: Path, *words: str) -> None:
        environment = {**os.environ, "UNFLATTEN_HOME": str(data), "UNFLATTEN_FAL_API_KEY": "1234567890abcdef" * 4}
        command = [sys.executable, "-m", "bridge.cli", "serve", "--idle-minutes", "0", *words]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        self.data = data
        wait_for(lambda: (found := read_connection(data)) and found.pid == self.process.pid, 20)

    def client(self, *, previews: bool = False) -> Client:
        connection = read_connection(self.data)
        assert connection is not None
        return Client(connection, {"protocol": 1, "previews": previews})

    def worker(self) -> psutil.Process | None:
        """The one in the environment for models."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it may end at this very moment
                if ".venv-gpu" in "".join(child.cmdline()[:1]):  # none, once it has ended
                    return child
        return None

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def daemon(painter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    data = tmp_path_factory.mktemp("home")
    add_model(data, painter, backends={"diffusers": {"keep_alive": KEEP_ALIVE, "name_layers": False}})
    running = Daemon(data)
    yield running
    running.end()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def follow(client: Client, job: str) -> tuple[Result, list[list[np.ndarray[Any, Any]]]]:
    """A job to its end, and the previews that came before."""
    result, previews = Result(), list[list[np.ndarray[Any, Any]]]()
    while True:
        message = client.hear(PATIENCE)
        result.messages.append(message)
        match message["type"]:
            case "preview":
                flat = np.frombuffer(client.socket.recv(timeout=PATIENCE, decode=False), np.uint8)
                shape = message["layers"], message["height"], message["width"], 4
                previews.append(list(flat.reshape(shape)))
            case "layer":
                data = b"".join(client.socket.recv(timeout=PATIENCE, decode=False) for _ in range(message["chunks"]))
                _, _, width, height = message["rect"]
                result.layers[message["index"]] = np.frombuffer(data, np.uint8).reshape(height, width, 4)
            case "done" | "error":
                if message.get("job") == job:
                    return result, previews
            case _:
                pass


def start(client: Client, picture: np.ndarray[Any, Any] | None = None, **settings: Any) -> str:
    asked = {"prompt": "x", **QUICK, **settings}
    return client.start(
        grey() if picture is None else picture, backend="diffusers", prompt=asked.pop("prompt"), settings=asked
    )


def flattened(result: Result, width: int, height: int) -> np.ndarray[Any, Any]:
    flat = np.zeros((height, width, 4))
    for index, outline in enumerate(result.last("stack")["layers"]):
        left, top, wide, high = outline["rect"]
        layer = result.layers[index] / 255.0
        part = flat[top : top + high, left : left + wide]
        part[...] = part * (1 - layer[..., 3:]) + layer * layer[..., 3:]
    return flat[..., :3] * 255


def test_a_picture_becomes_exact_layers_and_is_shown_early(daemon: Daemon) -> None:
    picture = grey(720, 500)
    with daemon.client(previews=True) as client:
        result, previews = follow(client, start(client, picture, num_inference_steps=4))
    report = result.last("done")["report"]
    assert report["exact_share"] == 1.0 and report["max_error"] == 0 and report["layers"] >= 2
    assert np.abs(flattened(result, 720, 500) - picture[..., :3]).max() < 0.51
    assert [len(each) for each in previews] == [2, 1, 2], "after one of four steps, then as they are drawn"
    assert previews[0][0].shape[1] == 160 and previews[0][0][..., 3].any()
    steps = [m for m in result.messages if m["type"] == "progress" and m["stage"] == "Splitting it into layers"]
    assert [(m["step"], m["steps"]) for m in steps] == [(number, 4) for number in range(5)]
    assert all(m["seconds_left"] >= 0 for m in steps[1:])


def loadings(*results: Result) -> int:
    return sum("laid out as" in note for each in results for note in each.last("done")["report"]["notes"])


def test_the_model_is_loaded_once_and_gone_after_its_keep_alive(daemon: Daemon, client: Client) -> None:
    wait_for(lambda: daemon.worker() is None, KEEP_ALIVE + 20)
    before = memory(daemon)
    results = [follow(client, start(client, prompt=f"picture {number}"))[0] for number in range(3)]
    assert daemon.worker() is not None, "it stays for the next picture"
    loaded = memory(daemon)
    assert loadings(*results) == 1
    wait_for(lambda: daemon.worker() is None, KEEP_ALIVE + 20)
    after = memory(daemon)
    print(f"PSS of the bridge and its workers: {before:.0f} MB, loaded {loaded:.0f}, after {after:.0f}")
    assert loaded > before + 200 and after < loaded - 200


def memory(daemon: Daemon) -> float:
    """PSS in MB."""
    main = psutil.Process(daemon.process.pid)
    return sum(each.memory_full_info().pss for each in [main, *main.children()]) / 1e6


def test_a_job_of_the_processor_s_is_not_held_up(daemon: Daemon, client: Client) -> None:
    job = start(client, num_inference_steps=50)
    wait_for(lambda: client.hear(PATIENCE).get("stage") == "Splitting it into layers", 60)
    with daemon.client() as other:
        poster = np.asarray(Image.open(ROOT / "bridge/sample/poster.png").convert("RGBA").resize((256, 360)))
        small = other.start(np.ascontiguousarray(poster), backend="builtin")
        assert other.finish(small, PATIENCE).kinds()[-1] == "done"
    client.say("cancel", job=job)
    result, _ = follow(client, job)
    assert result.messages[-1]["code"] == "cancelled"


def test_cancelled_it_goes_on_with_the_next_without_loading_again(client: Client) -> None:
    first, _ = follow(client, start(client))
    assert first.kinds()[-1] == "done"
    job = start(client, num_inference_steps=50)
    wait_for(lambda: client.hear(PATIENCE).get("step") == 2, 60)
    began = time.monotonic()
    client.say("cancel", job=job)
    result, _ = follow(client, job)
    assert result.messages[-1]["code"] == "cancelled" and time.monotonic() - began < 5
    again, _ = follow(client, start(client, prompt="again"))
    assert again.kinds()[-1] == "done" and loadings(again) == 0


def kill_at(step: int, daemon: Daemon, client: Client) -> None:
    """Kill the worker as soon as it has told that step."""
    wait_for(lambda: (m := client.hear(PATIENCE)).get("stage") == "Splitting it into layers" and m["step"] == step, 60)
    worker = daemon.worker()
    assert worker is not None
    worker.kill()


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_worker_that_is_killed_costs_nothing_but_time(daemon: Daemon, client: Client, step: int) -> None:
    job = start(client, num_inference_steps=4, prompt=f"killed at {step}")
    kill_at(step, daemon, client)
    result, _ = follow(client, job)
    assert result.kinds()[-1] == "done"


def test_a_worker_that_is_killed_twice_costs_one_job(daemon: Daemon, client: Client) -> None:
    job = start(client, num_inference_steps=4, prompt="killed twice")
    for step in (1, 2):
        kill_at(step, daemon, client)
    result, _ = follow(client, job)
    assert result.messages[-1]["code"] == "worker_died" and result.messages[-1]["hint"]
    assert follow(client, start(client, prompt="after it"))[0].kinds()[-1] == "done"


def test_a_batch_loads_it_once(painter: Path, tmp_path: Path) -> None:
    add_model(tmp_path / "home", painter, backends={"diffusers": {"name_layers": False}})
    (tmp_path / "in").mkdir()
    for number in range(6):
        Image.fromarray(grey(600 + 8 * number, 600)).save(tmp_path / "in" / f"{number}.png")
    told = command(
        tmp_path / "home", "batch", tmp_path / "in", "-o", tmp_path / "out", "--backend", "diffusers", "--prompt", "x",
        *("--steps", "1", "--layers", "2", "--guidance-scale", "1", "--acceleration", "none", "--seed", "1"),
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert len(list((tmp_path / "out").glob("*.ora"))) == 6
    assert (told.stdout + told.stderr).count("laid out as") == 1


def command(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "UNFLATTEN_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_without_a_model_every_mouth_says_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(grey(64, 64)).save(tmp_path / "grey.png")
    told = command(tmp_path, "split", tmp_path / "grey.png", "-o", tmp_path / "o.ora", "--backend", "diffusers")
    assert told.returncode == 1 and "There is no model on this computer yet." in told.stderr
    assert "unflatten models" in told.stderr
    doctor = command(tmp_path, "doctor", "--json")
    (found,) = [each for each in json.loads(doctor.stdout)["optional"] if "diffusers" in each["what"]]
    assert "There is no model" in found["told"]


FAL_SCRIPT = """
import fal_client, json, sys
image = fal_client.upload_file(sys.argv[1])
arguments = {"image_url": image, "prompt": "x", **json.loads(sys.argv[2])}
print(json.dumps(fal_client.subscribe("fal-ai/qwen-image-layered", arguments=arguments)))
"""


def test_fal_s_own_client_gets_its_layers(painter: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    add_model(home, painter, backends={"diffusers": {"name_layers": False}})
    Image.fromarray(grey()).save(tmp_path / "grey.png")
    running = Daemon(home, "--fal", "--backend", "diffusers")
    try:
        script = ("fal-env", "--", sys.executable, "-c", FAL_SCRIPT, tmp_path / "grey.png", json.dumps(QUICK))
        told = command(home, *script)
        assert told.returncode == 0, told.stderr
        result = json.loads(told.stdout.splitlines()[-1])
        assert len(result["images"]) >= 2 and result["seed"] == 1
    finally:
        running.end()
