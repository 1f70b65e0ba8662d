"""What attackers without a key, and clients that go wrong, cost a real bridge: figures.

    python -m tests.bench.bench_attacks [--sessions 20000] [--seed 1]

Prints: the bridge's memory at its highest for JSON bombs and for a client that never reads; a good client's time to an
answer while 1,100 half requests hang; whether a bridge starts with each column of each row damaged; and whether so many
mutated sessions were all answered or closed.
"""

import argparse
import contextlib
import http.client
import json
import random
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from websockets.exceptions import ConnectionClosed

from bridge import protocol
from bridge.jobs.rows import COLUMNS
from tests.unit.trial.client import Client, new_job, noise
from tests.unit.trial.damage import DAMAGES, columns, damage
from tests.unit.trial.fal_api import KEY, RUN, Api, arguments, ask, open_api
from tests.unit.trial.running import Bridge, Starter, wait_for

MIB = 2**20
HANGING = 1100
PATIENCE = 20.0
MASK = bytes(4)

BOMBS: dict[str, Callable[[], bytes]] = {
    "small numbers": lambda: b"[" + b"1," * (15 * MIB) + b"1]",
    "small objects": lambda: b"[" + b'{"a":0},' * (31 * MIB // 8) + b"1]",
    "brackets": lambda: b"[" * (31 * MIB),
    "short texts": lambda: b'["' + b'","' * (10 * MIB) + b'"]',
    "escapes": lambda: b'{"image_url":"' + b"\\u0041" * (5 * MIB) + b'"}',
    "a long prompt": lambda: b'{"prompt":"' + b"a" * (31 * MIB) + b'"}',
    "a percent-encoded picture": lambda: b'{"image_url":"data:,' + b"%41" * (10 * MIB) + b'"}',
    "a base64 picture": lambda: b'{"image_url":"data:;base64,' + b"QUFB" * (31 * MIB // 4) + b'"}',
}


class Peak:
    """The highest memory of a process while it is looked at, in MiB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.before = self.now()
        self.highest = self.before

    def now(self) -> float:
        return self._process.memory_info().rss / MIB

    def _look(self) -> None:
        while not self._over.wait(0.002):
            self.highest = max(self.highest, self.now())

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def bombs(api: Api) -> None:
    api.run(num_layers=2)
    for name, make in BOMBS.items():
        content = make()
        began = time.monotonic()
        with Peak(api.bridge.process.pid) as peak:
            status = api.http.post(RUN, content=content).status_code
        print(
            f"  {name:26} {len(content) / MIB:4.0f} MiB → {status} in {time.monotonic() - began:4.1f} s;"
            f" +{peak.highest - peak.before:3.0f} MiB at most, +{peak.now() - peak.before:3.0f} after"
        )
    time.sleep(1)
    print(f"  idle again: {psutil.Process(api.bridge.process.pid).memory_info().rss / MIB:.0f} MiB")


def silent_reader(bridge: Bridge, frames: int = 400_000) -> None:
    for name, frame in {
        "nonsense": masked(1, b'{"type":"dance"}'),
        "questions": masked(1, b'{"type":"backends"}'),
        "empty messages": masked(1, b""),
        "pings": masked(9, b"x" * 100),
    }.items():
        client = bridge.client()
        raw = client.socket.socket
        raw.settimeout(2)
        sent = 0
        with Peak(bridge.process.pid) as peak:
            with contextlib.suppress(OSError):  # nothing more is read of it
                for _ in range(frames // 1000):
                    raw.sendall(frame * 1000)
                    sent += 1000
            time.sleep(1)
        raw.close()
        print(f"  {sent:7,} {name:15} +{peak.highest - peak.before:3.0f} MiB at most")


def masked(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + MASK + payload


def half_requests(bridge: Bridge, port: int, ask_well: Callable[[], Any]) -> None:
    halves = [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02\x00", b"CONNECT fal.run:443 H"]
    hanging: list[socket.socket] = []
    lines = len(bridge.log.splitlines())
    try:
        for number in range(HANGING):
            each = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            each.sendall(halves[number % len(halves)])
            hanging.append(each)
        times: list[float] = []
        for _ in range(20):
            began = time.monotonic()
            ask_well()
            times.append(1000 * (time.monotonic() - began))
        files = psutil.Process(bridge.process.pid).num_fds()
        lines = len(bridge.log.splitlines()) - lines
        print(
            f"  port {port}: {HANGING} half requests hang; a good client is answered in {sorted(times)[10]:.0f} ms "
            f"(at most {max(times):.0f}); {files} files open, {lines} lines more in the log"
        )
    finally:
        for each in hanging:
            each.close()


def good_status(bridge: Bridge) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", bridge.card.port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {bridge.card.token}"})
        assert connection.getresponse().status == 200


def damaged_starts(start: Starter, folder: Path) -> None:
    """Each column of each table with one kind of damage each; all kinds take turns."""
    api = open_api(start, folder / "damaged")
    for seed in (1, 2):
        assert api.run(num_layers=2, seed=seed).status_code == 200
    api.bridge.stop()
    store = api.bridge.data / "journal.sqlite"
    sound = store.read_bytes()
    tables = {"jobs": [each.name for each in COLUMNS]}
    tables.update({table: columns(store, table) for table in ("fal_request", "fal_image")})
    kinds = list(DAMAGES)
    tried = failed = 0
    for table, names in tables.items():
        for column in names:
            kind = kinds[tried % len(kinds)]
            for ending in ("-wal", "-shm"):
                store.with_name(store.name + ending).unlink(missing_ok=True)
            store.write_bytes(sound)
            damage(store, table, column, DAMAGES[kind])
            tried += 1
            try:
                bridge = start(folder / "damaged", fal={"backend": "trial"}, environment={"UNFLATTEN_FAL_API_KEY": KEY})
                told = wait_for(lambda bridge=bridge: (answer := ask(bridge)).get("open") and answer)
                assert Api(bridge, told).run(num_layers=2).status_code == 200
                bridge.stop()
            except AssertionError as problem:
                failed += 1
                print(f"  {table}.{column} with {kind}: {str(problem)[:200]}")
    print(f"  {tried} starts with a damaged column each, {failed} failed")


# Sessions that go wrong


def mutated(random_: random.Random) -> list[str | bytes]:
    """A session's frames, of which some are not what they should be."""
    picture = {"width": 32, "height": 32, "model": "RGBA", "depth": "U8", "chunks": 1}
    job = new_job()
    frames: list[Any] = [
        {"type": "estimate", "width": 64, "height": 64, "backend": "trial", "options": {"shade": 3}},
        {"type": "decompose", "job": job, "backend": "trial", "settings": {"seed": 1}, "picture": picture},
        {"type": "cancel", "job": job},
        {"type": "attach", "job": job, "have": [0, 1]},
        {"type": "backends"},
    ]
    chosen = random_.sample(frames, random_.randint(1, 4))
    return [_mutated(json.loads(json.dumps(each)), random_) for each in chosen]


ODD = [None, True, False, [], {}, ["RGBA"], {"a": [1]}, "", "x" * 300, "\ud800", "\x00", 10**300, -1, 0, 1.5, 1e308]
RAW = ["", "{", "[]", "null", "NaN", '{"type":"\\ud800"}', "[" * 9000, '{"type":' * 3000, "\ufeff{}", '{"type":1e999}']


def _mutated(message: dict[str, Any], random_: random.Random) -> str | bytes:
    match random_.randrange(8):
        case 0:
            return random_.choice(RAW)
        case 1:
            return random_.randbytes(random_.randrange(300))
        case 2:
            text = list(json.dumps(message))
            for _ in range(random_.randint(1, 4)):
                text[random_.randrange(len(text))] = random_.choice('{}[]",:0a\\\u20ac')
            return "".join(text)
        case 3:
            message[random_.choice(list(message))] = random_.choice(ODD)
        case 4:
            inner = [each for each in message.values() if isinstance(each, dict)] or [message]
            into = random_.choice(inner)
            into[random_.choice([*into, "more"])] = random_.choice(ODD)
        case 5:
            del message[random_.choice(list(message))]
        case 6:
            message[random_.choice(["\ud800", "x" * 200, "type ", "settings"])] = random_.choice(ODD)
        case _:
            pass
    return json.dumps(message)


def sessions(bridge: Bridge, many: int, seed: int) -> None:
    """Each session's frames, then a question: either it is answered, or the session is closed."""
    silent = internal = closed = 0
    began = time.monotonic()
    for number in range(many):
        random_ = random.Random(seed * 1_000_003 + number)
        frames = mutated(random_)
        try:
            with bridge.client() as client:
                if random_.random() < 0.05:
                    client.socket.send(random_.choice(RAW))
                for frame in frames:
                    client.socket.send(frame)
                client.say("estimate", width=77, height=77, backend="trial")
                internal += _until_answered(client)
        except TimeoutError:
            silent += 1
            print(f"  silent after {frames!r:.300}")
        except (ConnectionClosed, OSError):
            closed += 1
    print(
        f"  {many:,} sessions in {time.monotonic() - began:.0f} s: {silent} silent, {closed} closed, "
        f"{internal} errors of our own; {bridge.log.count('ERROR')} errors in the log"
    )


def _until_answered(client: Client) -> int:
    """How many answers were errors of the bridge's own, up to the question's."""
    internal = 0
    while True:
        text = client.socket.recv(timeout=PATIENCE)
        if isinstance(text, bytes):
            continue
        message = protocol.decode(text, protocol.SERVER_MESSAGES)
        internal += message.get("code") == "internal"
        if message["type"] == "estimate":
            return internal


def requests(api: Api, many: int, seed: int) -> None:
    """The same at fal's API."""
    internal = 0
    for number in range(many):
        random_ = random.Random(seed * 7_000_003 + number)
        body = _mutated(arguments(num_layers=2), random_)
        content = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        answer = api.http.post(RUN, content=content)
        if answer.status_code >= 500:
            internal += 1
            print(f"  {answer.status_code} to {content!r:.300}")
    print(f"  {many:,} requests: {internal} answered with an error of our own")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    wishes = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    with tempfile.TemporaryDirectory() as folder:
        start = Starter(Path(folder))
        try:
            api = open_api(start, preexec=few_files)
            bridge = api.bridge
            with bridge.client() as client:
                client.split(noise(64, 64))
            print("Bodies at fal's API")
            bombs(api)
            print("A client that never reads")
            silent_reader(bridge)
            print("Half requests")
            half_requests(bridge, bridge.card.port, lambda: good_status(bridge))
            half_requests(bridge, api.port, lambda: api.http.get("/openapi.json", headers={"Connection": "close"}))
            print("Mutated sessions")
            sessions(bridge, wishes.sessions, wishes.seed)
            requests(api, wishes.sessions // 10, wishes.seed)
            bridge.stop()
            print("Damaged stores")
            damaged_starts(start, Path(folder))
        finally:
            start.stop_all()


if __name__ == "__main__":
    main()
