"""Kill −9 of the bridge and its worker at random moments of a remote job's life, and what becomes of the job then."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed

from bridge.connection_file import read_connection
from tests.unit.trial.client import Client, new_job, noise

ROOT = Path(__file__).parents[4]
PATIENCE = 60.0
WALL_CLOCK = 10
LAYERS = 3


@dataclass(frozen=True)
class Place:
    """A fal to ask. begun: how often a request with that seed was taken."""

    url: str
    key: str
    begun: Callable[[int], int]


@dataclass
class Tally:
    """What 200 kills came to. moments: where in the job's life each came, by the last that had been told of it."""

    kills: int = 0
    done: int = 0
    twice: int = 0
    lost: int = 0
    halves: int = 0
    unclear: int = 0
    """Ended in “it cannot be told whether fal took it”, where fal had not."""
    again: int = 0
    """Had to be asked for anew, for the picture had not arrived whole."""
    stages: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        each = self.seconds / max(self.kills, 1)
        moments = ", ".join(f"{count}× {stage}" for stage, count in self.stages.most_common())
        return [
            f"{self.kills} kills in {self.seconds:.0f} s ({each:.1f} s each): {self.done} done, {self.unclear} unclear",
            f"submitted twice: {self.twice}, paid results lost: {self.lost}, half stacks shown as done: {self.halves}",
            f"killed at: {moments}",
            *self.problems,
        ]


class KilledBridge:
    """The bridge as its users start it, in a process group of its own."""

    def __init__(self, data: Path, place: Place) -> None:
        self.data = data
        self._environment = {
            **os.environ,
            "UNFLATTEN_HOME": str(data),
            "UNFLATTEN_FAL_URL": place.url,
            "FAL_KEY": place.key,
            "PYTHONPATH": str(ROOT),
        }
        data.mkdir(parents=True, exist_ok=True)
        allowed = {"remote_allowed": True, "wall_clock": WALL_CLOCK}
        (data / "preferences.json").write_text(json.dumps(allowed))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "bridge.cli", "serve"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + PATIENCE
        while (card := read_connection(self.data)) is None or card.pid != process.pid:
            assert process.poll() is None and time.monotonic() < until, "the bridge did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def client(self) -> Client:
        card = read_connection(self.data)
        assert card is not None
        return Client(card)


@contextmanager
def killed_bridge(data: Path, place: Place) -> Iterator[KilledBridge]:
    bridge = KilledBridge(data, place)
    bridge.start()
    try:
        yield bridge
    finally:
        bridge.kill()


def run(
    kills: int,
    data: Path,
    place: Place,
    dice: random.Random,
    told: Callable[[str], None] = print,
    handing: threading.Event | None = None,
) -> Tally:
    """So many jobs, each killed once at a moment drawn from its whole life, and seen to its end after a restart.

    handing: set when an order is on its way; then the kills come just there, within some hundredths of a second.
    """
    tally = Tally()
    with killed_bridge(data, place) as bridge:
        life = max(_whole_job(bridge, dice) for _ in range(2))  # the second has a worker that is warm
        life = min(life, _whole_job(bridge, dice))
        began = time.monotonic()
        for number in range(kills):
            seed = dice.randrange(2**31)
            picture = noise(300, 200, seed)
            if handing is None:
                job, stage = _killed(bridge, picture, seed, dice.uniform(0.0, life * 1.1))
            else:
                handing.clear()
                job, stage = _killed_at(handing, bridge, picture, seed, dice.choice((0.0, 0.0, 0.005, 0.03)))
            tally.kills += 1
            tally.stages[stage] += 1
            bridge.start()
            closed = stage != "done" and dice.random() < 0.3  # who has had it wants another by asking anew
            _see_through(bridge, picture, seed, job, closed, tally, place)
            tally.seconds = time.monotonic() - began
            if (number + 1) % 20 == 0:
                told(" | ".join(tally.lines()[:2]))
    return tally


def _whole_job(bridge: KilledBridge, dice: random.Random) -> float:
    seed = dice.randrange(2**31)
    began = time.monotonic()
    with bridge.client() as client:
        job = client.start(noise(300, 200, seed), **_asked(seed))
        end = client.finish(job, PATIENCE).messages[-1]
    assert end["type"] == "done", end
    return time.monotonic() - began


def _asked(seed: int) -> dict[str, Any]:
    return {"backend": "fal", "settings": {"seed": seed, "num_layers": LAYERS, "enable_safety_checker": False}}


def _killed(bridge: KilledBridge, picture: np.ndarray, seed: int, after: float) -> tuple[str, str]:
    """Start a job and kill the bridge so many seconds later; the job, and the last that was heard of it."""
    job, stage = new_job(), "before it was taken"
    client = bridge.client()
    until = time.monotonic() + after
    try:
        client.start(picture, job=job, **_asked(seed))
        while (left := until - time.monotonic()) > 0:
            message = None
            with suppress(TimeoutError):
                message = client.socket.recv(timeout=left)
            if isinstance(message, str):
                told = json.loads(message)
                stage = told.get("stage") or told["type"]
    finally:
        bridge.kill()
        with suppress(ConnectionClosed, OSError):
            client.socket.close()
    return job, stage


def _killed_at(
    moment: threading.Event, bridge: KilledBridge, picture: np.ndarray, seed: int, after: float
) -> tuple[str, str]:
    """The same, so many seconds after a moment has come."""
    job = new_job()
    client = bridge.client()
    try:
        client.start(picture, job=job, **_asked(seed))
        assert moment.wait(PATIENCE)
        time.sleep(after)
    finally:
        bridge.kill()
        with suppress(ConnectionClosed, OSError):
            client.socket.close()
    return job, f"{after * 1000:.0f} ms after the order left"


def _see_through(
    bridge: KilledBridge, picture: np.ndarray, seed: int, job: str, closed: bool, tally: Tally, place: Place
) -> None:
    """Ask for the job again, as a client does after such a death. closed: it died too, and knows the job no more."""
    with bridge.client() as client:
        if closed:
            job = client.start(picture, **_asked(seed))
        else:
            client.say("attach", job=job, have=[])
        result = client.finish(job, PATIENCE)
        end = result.messages[-1]
        if end["type"] == "error" and end["code"] in ("unknown_job", "interrupted"):
            tally.again += 1
            result = client.finish(client.start(picture, **_asked(seed)), PATIENCE)
            end = result.messages[-1]
    times = place.begun(seed)
    if times > 1:
        tally.twice += 1
        tally.problems.append(f"seed {seed} was submitted {times} times")
    if end["type"] == "done":
        tally.done += 1
        if not _is_whole(result.last("stack"), result.layers, picture):
            tally.halves += 1
            tally.problems.append(f"seed {seed}: a half stack")
    elif end["code"] == "unknown_fate" and times == 0:
        tally.unclear += 1
    else:
        tally.lost += int(times > 0)
        tally.problems.append(f"seed {seed}: {end['code']}: {end['message']} ({times} submitted)")


def _is_whole(stack: dict[str, Any], layers: dict[int, np.ndarray], picture: np.ndarray) -> bool:
    """Whether all layers that were announced are there, and laid over each other are the picture."""
    if sorted(layers) != list(range(len(stack["layers"]))) or not layers:
        return False
    flat = np.zeros((*picture.shape[:2], 3))
    for index, outline in enumerate(stack["layers"]):
        left, top, width, height = outline["rect"]
        area = flat[top : top + height, left : left + width]
        alpha = layers[index][..., 3:] / 255.0
        area += (layers[index][..., :3] - area) * alpha
    return bool(np.abs(flat.round() - picture[..., :3]).max() <= 1)
