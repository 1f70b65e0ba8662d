"""The bridge's figures: time to start, memory when idle and after a job, what the wire costs beside a bare socket copy.

Run: python -m tests.bench.bench_bridge [--rounds N]. The splitter is the tests' trial backend, whose own time (and the
finish's) is taken off.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from bridge.connection_file import Connection, read_connection
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.client import Client, noise

WIDTH, HEIGHT, LAYERS = 3840, 2160, 5
WORKER_IDLE = 3.0
MB = 10**6


def start(data: Path) -> tuple[subprocess.Popen[bytes], Connection, float]:
    """A bridge, its card, and the seconds from its start until it answered a client."""
    began = time.monotonic()
    process = subprocess.Popen(
        [*trial_bridge.BRIDGE, str(data), json.dumps({"worker_idle": WORKER_IDLE})],
        stdout=subprocess.DEVNULL,
    )
    while (card := read_connection(data)) is None or card.pid != process.pid:
        time.sleep(0.005)
    Client(card).socket.close()
    return process, card, time.monotonic() - began


def pss(process: subprocess.Popen[bytes]) -> float:
    """MB of the bridge and its children."""
    parent = psutil.Process(process.pid)
    return sum(each.memory_full_info().pss for each in [parent, *parent.children(recursive=True)]) / MB


def cpu(process: subprocess.Popen[bytes]) -> float:
    """User and system seconds of the bridge and its children so far."""
    parent = psutil.Process(process.pid)
    return sum(sum(each.cpu_times()[:2]) for each in [parent, *parent.children(recursive=True)])


def socket_copy(up: int, down: int) -> float:
    """Seconds for that many bytes over a bare loopback connection, first one way, then the other."""
    block = bytes(8 * 2**20)

    def read(connection: socket.socket, count: int) -> None:
        buffer = bytearray(2**20)
        while count:
            count -= connection.recv_into(buffer, min(count, len(buffer)))

    def send(connection: socket.socket, count: int) -> None:
        while count:
            piece = memoryview(block)[: min(count, len(block))]
            connection.sendall(piece)
            count -= len(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        server, _ = listener.accept()

        def serve() -> None:
            read(server, up)
            send(server, down)

        thread = threading.Thread(target=serve)
        began = time.monotonic()
        thread.start()
        send(client, up)
        read(client, down)
        took = time.monotonic() - began
        thread.join()
        server.close()
    return took


def split(client: Client, picture: np.ndarray) -> tuple[float, float, int]:
    """Seconds from trigger to last layer, those that were the splitter's and finish's own, and bytes of layers."""
    began = time.monotonic()
    job = client.start(picture, settings={"num_layers": LAYERS})
    last = began
    down = 0
    report = {}
    for message, pixels in client.follow(job, 120):
        if message["type"] == "layer":
            last = time.monotonic()
            down += pixels.nbytes if pixels is not None else 0
        if message["type"] == "error":
            sys.exit(f"the job failed: {message['message']}")
        report = message.get("report", report)
    return last - began, report["draft_seconds"] + report["finish_seconds"], down


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        starts: list[float] = []
        for number in range(rounds):
            process, _, seconds = start(Path(folder) / str(number))
            starts.append(seconds)
            process.terminate()
            process.wait()
        process, card, _ = start(Path(folder) / "bridge")
        time.sleep(1)
        median, worst = statistics.median(starts), max(starts)
        print(f"start → first client greeted   median {median:.2f} s of {rounds} (worst {worst:.2f})")
        print(f"idle                           {pss(process):.1f} MB PSS")

        picture = noise(WIDTH, HEIGHT)
        with Client(card) as client:
            for name, count in (("first job, worker cold", 1), ("jobs, worker warm", rounds)):
                overheads: list[float] = []
                floors: list[float] = []
                spent, down = cpu(process), 0
                for _ in range(count):
                    whole, own, down = split(client, picture)
                    overheads.append(whole - own)
                    floors.append(socket_copy(picture.nbytes, down))
                spent = (cpu(process) - spent) / count
                overhead, floor = min(overheads), min(floors)
                moved = (picture.nbytes + down) / MB
                print(
                    f"{name:<30} {overhead:.3f} s beside splitting (median {statistics.median(overheads):.3f}), "
                    f"{moved:.0f} MB moved = {moved / overhead:.0f} MB/s, {spent:.2f} s CPU in all; "
                    f"bare socket copy {floor:.3f} s (median {statistics.median(floors):.3f})"
                )
            print(f"after a job, worker warm       {pss(process):.1f} MB PSS")
            time.sleep(WORKER_IDLE + 1.5)
            print(f"after the idle time            {pss(process):.1f} MB PSS")
        process.terminate()
        sys.exit(process.wait())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    main()
