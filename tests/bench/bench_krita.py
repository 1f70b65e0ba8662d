"""How long a picture is on its way in real Krita, and for how long Krita's main thread is held meanwhile.

    python -m tests.bench.bench_krita [--size 3840x2160] [--layers 5] [--runs 5]

The way: from the trigger until the group with all its layers is in the document, less what the splitter and the finish
say they took. The floor, measured in the same run: pixelData of the whole canvas, every byte of picture and layers over
the loopback once, and setPixelData of every layer. Figures, not asserts; timings on a busy machine are noisy, so look
at the median.
"""

import argparse
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

from installer.environment import Environment
from installer.plugin import assemble
from tests.krita.bridges import Bridge, scripted_python
from tests.krita.pictures import compare, noise, seen
from tests.krita.window import Krita, Screen, wait_for

ROOT = Path(__file__).parents[2]


def over_the_loopback(size: int, pieces: int = 8 * 2**20) -> float:
    """Seconds that `size` bytes take from one socket to another, both in plain Python."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        data = memoryview(bytearray(pieces))

        def send() -> None:
            with socket.create_connection(server.getsockname()) as out:
                left = size
                while left > 0:
                    out.sendall(data[: min(left, pieces)])
                    left -= pieces

        began = time.perf_counter()
        threading.Thread(target=send, daemon=True).start()
        into = bytearray(pieces)
        accepted, _ = server.accept()
        with accepted:
            while accepted.recv_into(into):
                pass
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--layers", type=int, default=5, help="a background and blocks; each over the whole canvas")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        assemble(home / "plugin", Environment(ROOT), home / "data")
        bridge = Bridge(scripted_python(home), home / "data")
        bridge.data.mkdir()
        bridge.script(seconds=0.2, objects=options.layers - 1, whole=1)
        screen = Screen()
        krita = Krita(screen, home / "home", home / "plugin")
        try:
            krita.use(bridge.python, bridge.data)
            krita.create_document(name="Bench", width=width, height=height)
            (home / "pixels").write_bytes(noise(width, height).tobytes())
            krita.fill(name="Bench", path=str(home / "pixels"))
            before = seen(krita, "Bench", home)
            measure(krita, options.runs, width * height * 4)
            print("largest difference, identical share:", compare(before, seen(krita, "Bench", home)))
        finally:
            krita.close()
            screen.close()
            bridge.end()


def measure(krita: Krita, runs: int, size: int) -> None:
    print("  way ms  floor ms  (read, wire, write)  ratio  last row ms  all ms  held ms  longest gap ms")
    ratios = []
    for run in range(runs + 1):
        krita.time_next_session()
        got = wait_for(krita.timed, 120, "the session")
        krita.undo(name="Bench")
        floor = krita.time_the_floor(name="Bench", layers=len(got["bytes"]))
        wire = over_the_loopback(size) + sum(over_the_loopback(each) for each in got["bytes"])
        assert got["handed_over"] is not None, got["outcome"]
        report = got["report"]
        way = got["handed_over"] - (report["draft_seconds"] + report["finish_seconds"]) * 1000
        floor_ms = (floor["read"] + floor["write"] + wire) * 1000
        if run == 0:
            print(f"(the first, with the start of bridge and worker: {way:.0f} ms)", got["outcome"], got["bytes"])
            continue
        ratios.append(way / floor_ms)
        parts = ", ".join(f"{each * 1000:.0f}" for each in (floor["read"], wire, floor["write"]))
        longest = max((gap for _, gap in got["gaps"]), default=0)
        print(f"{way:8.0f}  {floor_ms:8.0f}  {parts:>19}  {ratios[-1]:5.2f}  ", end="")
        print(f"{got['last_row']:11}  {got['handed_over']:6}  {got['held']:7}  {longest:14}")
        print("          gaps [at, ms]:", got["gaps"], " Krita's single calls [name, at, ms]:", got["calls"])
        print("          handed on [what, at]:", got["wire"], report)
    print(f"median ratio {statistics.median(ratios):.2f} (at most 1.5 is wanted)")


if __name__ == "__main__":
    main()
