"""The remote backend's figures: beside fal_client, in a batch, on a bad line, and killed 200 times.

Run: python -m tests.bench.bench_remote [--kills N] [--handing-kills N] [--storms N]
[--only overhead|throughput|kills|faults]. By itself it asks the tests' scripted server; for another, such as our own
API: --quick URL (answers at once), --paced URL (10 at a time, for the batch with 2 s a job) and --key KEY. For kills
and faults (the former ask the paced, the latter the quick one) a line stands between that counts the orders, and spoils
what it is told to.
"""

import argparse
import asyncio
import io
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
from PIL import Image

from bridge.backends.fal.pack import PNG
from tests.unit.backends.fal.service import ENDPOINT, KEY

THIS = "tests.bench.bench_remote"
ROOT = Path(__file__).parents[2]
SECONDS, AT_ONCE, PICTURES = 2.0, 10, 50
WIDTH, HEIGHT, LAYERS = 320, 240, 4
MB = 2**20
NAMES = {"ours": "ours", "async": "fal_client, AsyncClient", "sync": "fal_client, SyncClient"}


def picture(seed: int) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8: a mosaic, with some noise so that its file is no trifle."""
    dice = np.random.default_rng(seed)
    mosaic = np.kron(dice.integers(0, 240, (HEIGHT // 20, WIDTH // 20, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    return mosaic + dice.integers(0, 8, mosaic.shape, np.uint8)


# The server


@dataclass(frozen=True)
class Server:
    url: str
    key: str

    def environment(self, home: Path) -> dict[str, str]:
        home.mkdir(parents=True, exist_ok=True)
        (home / "preferences.json").write_text('{"remote_allowed": true}')
        ours = {"UNFLATTEN_HOME": str(home), "UNFLATTEN_FAL_URL": self.url, "FAL_KEY": self.key}
        return {**os.environ, **ours, "PYTHONPATH": str(ROOT)}


@contextmanager
def scripted(seconds: float) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "tests.unit.backends.fal.service", str(port), "--concurrency", str(AT_ONCE)]
    words += ["--seconds", str(seconds)]
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield Server(f"http://127.0.0.1:{port}", KEY)
    finally:
        process.terminate()
        process.wait(10)


def wait_for(reached: Callable[[], None]) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            return reached()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


# (a) One job after another: ours, and fal_client's


def overhead(server: Server, jobs: int, folder: Path) -> None:
    """Each side in processes of its own, by turns; per job the median, of the memory the peak."""
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "async": [], "sync": []}
    for number in range(3):
        for side, told in sides.items():
            words = ["-m", THIS, "--side", side, "--quick", server.url, "--jobs", str(jobs), "--key", server.key]
            environment = server.environment(folder / f"{side}{number}")
            told.append(json.loads(subprocess.check_output([sys.executable, *words], env=environment, cwd=ROOT)))
    print(f"(a) one job after another, {3 * jobs} a side, by turns; {WIDTH}×{HEIGHT}, {LAYERS} layers")
    for side, told in sides.items():
        seconds = [each for run in told for each in run["seconds"]]
        cpu = [each for run in told for each in run["cpu"]]
        print(
            f"    {NAMES[side]:24}  {statistics.median(seconds) * 1000:6.1f} ms a job (median), "
            f"{statistics.median(cpu) * 1000:5.1f} ms of processor; memory grows by "
            f"{statistics.median(run['loaded'] for run in told) / MB:4.1f} MB when it is loaded and "
            f"{statistics.median(run['grown'] for run in told) / MB:4.1f} MB at most for its jobs"
        )


def one_side(side: str, server: Server, jobs: int) -> None:
    """Run the jobs of one side; print what each took. All have loaded beforehand what the bridge's worker has loaded
    before it knows who splits: the libraries for pictures, and the settings."""
    import bridge.picture
    import bridge.settings  # noqa: F401

    shown = [cv2.cvtColor(picture(number), cv2.COLOR_RGB2RGBA) for number in range(jobs + 2)]
    cv2.imencode(".png", shown[0])
    before = psutil.Process().memory_info().rss
    run = {"ours": our_side, "sync": their_side, "async": their_async_side}[side](server)
    loaded = psutil.Process().memory_info().rss
    seconds, cpu = [], []
    for number, pixels in enumerate(shown):
        began, busy = time.perf_counter(), time.process_time()
        assert run(pixels, number) == LAYERS
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds[2:], "cpu": cpu[2:], "loaded": loaded - before, "grown": peak - loaded}))


def our_side(_: Server) -> Callable[[np.ndarray, int], int]:
    from bridge.backends.choice import choose
    from bridge.picture import Picture
    from bridge.settings import Settings
    from tests.unit.backends.fal.driving import drive

    settings = Settings(num_layers=LAYERS, enable_safety_checker=False)
    chosen = choose("fal").check()
    assert chosen.remote is not None
    model = chosen.remote.connect(chosen.options)
    loop = asyncio.new_event_loop()

    def run(pixels: np.ndarray, number: int) -> int:
        job = drive(Picture(pixels), settings, seed=random.randrange(2**31), model=model)
        return len(loop.run_until_complete(job).layers)

    return run


def their_side(server: Server) -> Callable[[np.ndarray, int], int]:
    """The same calls: upload by initiate and PUT, submit, status with logs until it is complete, result, downloads."""
    client = pointed_at(server).SyncClient(key=server.key)
    downloads = httpx.Client()

    def run(pixels: np.ndarray, number: int) -> int:
        url = client.upload(packed(pixels), "image/png", "picture.png", repository="fal")
        handle = client.submit(ENDPOINT, arguments(url))
        for _ in handle.iter_events(with_logs=True):
            pass
        return len([opened(downloads.get(image["url"]).content) for image in handle.get()["images"]])

    return run


def their_async_side(server: Server) -> Callable[[np.ndarray, int], int]:
    """The same with its asyncio client, and the downloads beside each other."""
    client = pointed_at(server).AsyncClient(key=server.key)
    downloads = httpx.AsyncClient()
    loop = asyncio.new_event_loop()

    async def fetched(url: str) -> np.ndarray:
        return opened((await downloads.get(url)).content)

    async def one(pixels: np.ndarray) -> int:
        url = await client.upload(packed(pixels), "image/png", "picture.png", repository="fal")
        handle = await client.submit(ENDPOINT, arguments(url))
        async for _ in handle.iter_events(with_logs=True):
            pass
        return len(await asyncio.gather(*(fetched(image["url"]) for image in (await handle.get())["images"])))

    return lambda pixels, number: loop.run_until_complete(one(pixels))


def pointed_at(server: Server) -> Any:
    """fal_client, which knows only https, pointed at the same plain socket that we have."""
    import fal_client
    from fal_client import client

    client.QUEUE_URL_FORMAT, client.REST_URL = f"{server.url}/queue/", f"{server.url}/rest"
    return fal_client


def packed(pixels: np.ndarray) -> bytes:
    whole, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR), PNG)
    assert whole
    return data.tobytes()


def opened(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGBA"))


def arguments(url: str) -> dict[str, Any]:
    seed = random.randrange(2**31)
    return {"image_url": url, "num_layers": LAYERS, "seed": seed, "enable_safety_checker": False}


# (b) A batch


def throughput(server: Server, folder: Path) -> None:
    """50 pictures at a server that takes 10 at a time for 2 s each, as `unflatten batch` sends them."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for number in range(PICTURES):
        Image.fromarray(picture(number)).save(pictures / f"{number:02}.png")
    ideal = PICTURES / AT_ONCE * SECONDS
    print(f"(b) {PICTURES} pictures at {AT_ONCE} at a time, {SECONDS:.0f} s each: ideally {ideal:.1f} s")
    parts = {
        "theirs": "the same by fal_client, AsyncClient, 20 at once from the start",
        "saved": "until all are finished and saved",
    }
    for part, what in parts.items():
        words = ["-m", THIS, "--part", part, "--paced", server.url, "--key", server.key, "--folder", str(folder)]
        told = json.loads(
            subprocess.check_output([sys.executable, *words], env=server.environment(folder / "home"), cwd=ROOT)
        )
        share = ideal / told["seconds"]
        print(f"    {what}: {told['seconds']:.2f} s, {share:.1%} of the ideal throughput; {told['peak'] / MB:.0f} MB")


def their_batch(server: Server, folder: Path) -> None:
    """What fal_client makes of the same, told beforehand how many to keep in flight."""
    client = pointed_at(server).AsyncClient(key=server.key)

    async def run(count: int) -> None:
        downloads = httpx.AsyncClient()
        in_flight = asyncio.Semaphore(2 * AT_ONCE)

        async def one(path: Path) -> None:
            async with in_flight:
                pixels = cv2.imread(str(path))
                assert pixels is not None
                rgba = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA)
                url = await client.upload(packed(rgba), "image/png", "picture.png", repository="fal")
                handle = await client.submit(ENDPOINT, arguments(url))
                result = await handle.get()
                got = await asyncio.gather(*(downloads.get(image["url"]) for image in result["images"]))
                assert len([opened(each.content) for each in got]) == LAYERS

        await asyncio.gather(*(one(path) for path in sorted((folder / "pictures").iterdir())[:count]))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(run(1))
    began = time.monotonic()
    loop.run_until_complete(run(PICTURES))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": time.monotonic() - began, "peak": peak}))


def one_batch(folder: Path) -> None:
    """What `unflatten batch` makes of it, from its start to its last file."""

    def run(pictures: Path, results: str) -> None:
        words = ["batch", str(pictures), "-o", str(folder / results), "--backend", "fal"]
        settings = ["--layers", str(LAYERS), "--no-safety-checker"]
        subprocess.run([sys.executable, "-m", "bridge.cli", *words, *settings], check=True, capture_output=True)

    one = folder / "one"
    one.mkdir(exist_ok=True)
    Image.fromarray(picture(99)).save(one / "one.png")
    run(one, "saved-first")  # the server's own start
    began = time.monotonic()
    run(folder / "pictures", "saved-all")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": time.monotonic() - began, "peak": peak}))


# (c) Kills


def kill(server: Server, kills: int, folder: Path, *, while_handing: bool = False) -> bool:
    """while_handing: not at any moment of the job's life, but while the order is on its way."""
    from tests.unit.backends.fal import kills as killing
    from tests.unit.backends.fal.injector import Injector

    with Injector(int(server.url.rpartition(":")[2])) as line:
        place = killing.Place(line.url, server.key, line.submitted.count)
        handing = threading.Event()
        line.choose = lambda call: handing.set() if call == "submit" else None
        home = folder / f"killed-{while_handing}"
        moment = handing if while_handing else None
        tally = killing.run(kills, home, place, random.Random(), lambda told: print(told, flush=True), moment)
    print("(c)", *tally.lines(), sep="\n    ")
    return not tally.problems


# (d) Faults


def faults(server: Server, storms: int, folder: Path) -> bool:
    """Each fault at each call, then jobs of which each call may meet any: each must end, clearly, within its clock."""
    from bridge import downloads
    from bridge.backends.fal import client, images, listing, queue, retries
    from bridge.settings import Settings
    from tests.unit.backends.fal.driving import draft
    from tests.unit.backends.fal.driving import picture as noise
    from tests.unit.backends.fal.injector import CALLS, KINDS, Chosen, Injector

    clock, cancelling = 10.0, 3.0
    os.environ.update(server.environment(folder / "faults"))
    preferred = {"remote_allowed": True, "backends": {"fal": {"wall_clock": clock}}}
    (folder / "faults" / "preferences.json").write_text(json.dumps(preferred))
    # A stall is noticed after 1 s instead of 30, so that the clock leaves time for what comes after it.
    client.ANSWER_PATIENCE = queue.SILENCE = downloads.STALL_PATIENCE = 1.0
    images.SECONDS, retries.FIRST, retries.LONGEST, listing.PAUSES = 4.0, 0.05, 0.4, (0.05, 0.5)
    ends: Counter[str] = Counter()
    problems: list[str] = []
    dice = random.Random(5)
    with Injector(int(server.url.rpartition(":")[2])) as line:
        os.environ["UNFLATTEN_FAL_URL"] = line.url

        def run(what: str) -> None:
            seed = dice.randrange(2**31)
            settings = Settings(num_layers=3, enable_safety_checker=False)
            began = time.monotonic()
            drafted = draft(noise(seed=seed), settings, seed=seed)
            took, error = time.monotonic() - began, drafted.error
            end = "overtime" if drafted.overtime else "done" if error is None else error.code
            ends[end] += 1
            if took > clock + cancelling:
                problems.append(f"{what}: took {took:.1f} s")
            if line.submitted.count(seed) > 1:
                problems.append(f"{what}: ordered {line.submitted.count(seed)} times")
            if end == "done" and len(drafted.layers) != 3:
                problems.append(f"{what}: {len(drafted.layers)} layers")
            if error is not None and (error.code == "internal" or not error.hint):
                problems.append(f"{what}: {error.code}: {error.message}")

        for call in CALLS:
            for kind in KINDS:
                line.choose = Chosen(call, kind)
                run(f"{kind} at {call}")
        line.choose = lambda call: dice.choice(KINDS) if dice.random() < 0.15 else None
        for number in range(storms):
            run(f"storm {number}")
    print(f"(d) {len(CALLS) * len(KINDS)} single faults and {storms} storms on the way to {server.url}")
    print("    " + ", ".join(f"{count}× {end}" for end, count in ends.most_common()))
    print("   ", *problems or ["none hung, none was ordered twice, none ended unclearly"], sep="\n    ")
    return not problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--handing-kills", type=int, default=0, help="the same, while the order is on its way")
    parser.add_argument("--storms", type=int, default=0, help="jobs on a line that spoils one call in seven")
    parser.add_argument("--only", choices=["overhead", "throughput", "kills", "faults"])
    parser.add_argument("--quick", help="URL of a server that answers at once")
    parser.add_argument("--paced", help="URL of a server that takes 2 s a job, 10 at a time")
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--side", choices=list(NAMES), help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=["saved", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        return one_side(given.side, Server(given.quick, given.key), given.jobs)
    if given.part == "theirs":
        return their_batch(Server(given.paced, given.key), given.folder)
    if given.part:
        return one_batch(given.folder)

    def wanted(part: str) -> bool:
        return given.only in (None, part)

    well = True
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)

        def server(url: str | None, seconds: float) -> Server:
            if url:
                return Server(url.rstrip("/"), given.key)
            return stack.enter_context(scripted(seconds))

        if wanted("overhead"):
            overhead(server(given.quick, 0), given.jobs, folder)
        if wanted("throughput"):
            throughput(server(given.paced, SECONDS), folder)
        if wanted("kills") and given.kills:
            well = kill(server(given.paced, 0.5), given.kills, folder)
        if wanted("kills") and given.handing_kills:
            well = kill(server(given.paced, 0.5), given.handing_kills, folder, while_handing=True) and well
        if wanted("faults") and given.storms:
            well = faults(server(given.quick, 0), given.storms, folder) and well
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
