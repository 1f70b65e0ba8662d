"""Lanes in figures: what waits elsewhere holds up nothing here, and a service's places are kept busy.

Run: python -m tests.bench.bench_lanes [--jobs 50] [--places 10] [--seconds 2]. The backends are the tests' own, added
from outside: `trial` splits here, `elsewhere` is a service in the engine's process that takes so many seconds a picture
and has so many places. Everything else is real: bridge, engine, workers, fal's API, and the command line.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from PIL import Image

from tests.unit.command.running import CommandLine
from tests.unit.trial.backends import notes
from tests.unit.trial.client import Client, noise
from tests.unit.trial.fal_api import KEY, QUEUE, arguments, open_api
from tests.unit.trial.running import Bridge, Starter

ALLOWED = '{"remote_allowed": true}'


def timed(client: Client) -> float:
    """Seconds that a picture of 64 × 64 takes here."""
    began = time.monotonic()
    assert client.split(noise(64, 64)).kinds()[-1] == "done"
    return time.monotonic() - began


def beside(bridge: Bridge) -> None:
    """A job here behind one that only waits elsewhere for eight seconds."""
    with bridge.client() as client, bridge.client() as other:
        timed(client)
        alone = statistics.median(timed(client) for _ in range(9))
        job = other.start(noise(64, 64, 2), backend="elsewhere", options={"seconds": 8})
        while "Splitting elsewhere" not in str(other.hear()):
            pass
        behind = statistics.median(timed(client) for _ in range(9))
        other.say("cancel", job=job)
        other.finish(job)
    print(f"64×64 here: alone {alone * 1000:.0f} ms, behind one that waits 8 s elsewhere {behind * 1000:.0f} ms")


async def through_the_api(url: str, jobs: int) -> float:
    """Seconds from the first request to the last result, all of them asked for at once."""
    limits = httpx.Limits(max_connections=32)
    async with httpx.AsyncClient(headers={"Authorization": f"Key {KEY}"}, timeout=300, limits=limits) as http:
        given = [arguments(seed=seed) for seed in range(jobs)]
        began = time.monotonic()
        queued = await asyncio.gather(*(http.post(f"{url}{QUEUE}", json=each) for each in given))
        waiting = {answer.json()["request_id"] for answer in queued}
        while waiting:
            await asyncio.sleep(0.05)
            for request in sorted(waiting):
                told = (await http.get(f"{url}{QUEUE}/requests/{request}/status")).json()
                if told["status"] == "COMPLETED":
                    waiting.discard(request)
                    assert "error" not in told, told
        return time.monotonic() - began


def by_the_api(folder: Path, jobs: int, places: int, seconds: float) -> None:
    starter = Starter(folder)
    (folder / "data").mkdir()
    (folder / "data" / "preferences.json").write_text(ALLOWED)
    options = {"seconds": seconds, "places": places}
    try:
        api = open_api(starter, fal={"backend": "elsewhere", "options": options})
        asyncio.run(through_the_api(api.url, 4))  # the worker's own start
        took = asyncio.run(through_the_api(api.url, jobs))
    finally:
        starter.stop_all()
    told("through the bridge (fal's API)", jobs, places, seconds, took)


def by_batch(folder: Path, jobs: int, places: int, seconds: float) -> None:
    line = CommandLine(folder, trial=True)
    line.data.mkdir(parents=True)
    (line.data / "preferences.json").write_text(ALLOWED)
    (folder / "pictures").mkdir()
    for seed in range(jobs):
        Image.fromarray(noise(64, 64, seed)).save(folder / "pictures" / f"{seed:02}.png")
    options = ["--option", f"seconds={seconds}", "--option", f"places={places}"]
    ran = subprocess.run(
        line.words("batch", "pictures", "-o", "out", "--backend", "elsewhere", *options),
        cwd=folder,
        env=line.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    ended = time.time_ns()
    assert ran.returncode == 0, ran.stderr
    first = min(int(handle.removeprefix("order-")) for handle in notes(line.data, "ordered"))
    told("from batch", jobs, places, seconds, (ended - first) / 1e9)


def told(what: str, jobs: int, places: int, seconds: float, took: float) -> None:
    ideal = -(-jobs // places) * seconds
    print(f"{jobs} jobs, {places} at a time, {seconds:g} s each, {what}: {took:.2f} s, {ideal / took:.1%} of the ideal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--places", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starter = Starter(folder)
        (folder / "data").mkdir()
        (folder / "data" / "preferences.json").write_text(ALLOWED)
        try:
            beside(starter())
        finally:
            starter.stop_all()
    for measure in (by_the_api, by_batch):
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), given.jobs, given.places, given.seconds)


if __name__ == "__main__":
    sys.exit(main())
