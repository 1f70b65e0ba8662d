"""Hostile picture files in figures: what bombs take of memory and time, and whether damaged files end in sentences.

Run: python -m tests.bench.bench_hostile_files [--number 3000] [--seed 0]. It opens each bomb in a process of its own,
and so many damaged copies of a file of every kind in one process for each kind. Wanted: no exception but the project's
own, no process that dies, 5 seconds at most for a file, and 720 MB at most beyond the libraries' own memory, which is
one and a half times the largest picture.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

from bridge.errors import UnflattenError
from bridge.files.load import load_picture
from bridge.limits import MAX_PIXELS
from tests.unit.files.bombs import BOMBS
from tests.unit.files.samples import every_kind

MOST_SECONDS = 5.0
MOST_BYTES = MAX_PIXELS * 4 * 3 // 2
MANY = 8
"""Bytes changed in a damaged file, at most; some are cut short besides."""


def opened(path: Path) -> str:
    """What became of the file: "" for a picture, a sentence, or the end of a traceback after “!”."""
    try:
        load_picture(path)
    except UnflattenError as problem:
        return f"{problem.message} {problem.hint}"
    except Exception:
        return "!" + traceback.format_exc(limit=-3)
    return ""


def damaged(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, MANY)):
        # half of the changes in the beginning, where sizes and kinds stand
        at = rng.randrange(min(len(spoilt), 600) if rng.random() < 0.5 else len(spoilt))
        spoilt[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    if rng.random() < 0.1:
        return bytes(spoilt[: rng.randrange(1, len(spoilt))])
    return mended(bytes(spoilt)) if data.startswith(b"\x89PNG") else bytes(spoilt)


def mended(png: bytes) -> bytes:
    """The PNG with sums that fit its chunks again: else every change would end at the first of them."""
    out, at = png[:8], 8
    while at + 12 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        body = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return out + png[at:]


def child(paths: list[Path], number: int, seed: int) -> dict[str, Any]:
    """Open the files as they are, or `number` damaged copies of each; what that took."""
    rng = random.Random(seed)
    before = resident("VmRSS")
    slowest, strange, refused, said = 0.0, [], 0, ""
    for path in paths:
        data = path.read_bytes() if number else b""
        target = path.with_name("damaged" + path.suffix) if number else path
        for _ in range(max(1, number)):
            if number:
                target.write_bytes(damaged(data, rng))
            began = time.monotonic()
            said = opened(target)
            slowest = max(slowest, time.monotonic() - began)
            refused += bool(said)
            if said.startswith("!"):
                strange.append(said)
    grown = resident("VmHWM") - before
    return {"slowest": slowest, "grown": grown, "strange": strange, "refused": refused, "said": said}


def resident(which: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM at most. Linux alone tells it so."""
    told = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{which}:\s+(\d+)", told)[1])  # pyright: ignore[reportOptionalSubscript]


def in_child(path: Path, number: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.bench_hostile_files", "--child", str(path)]
    command += ["--number", str(number), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        return {
            "slowest": 0,
            "grown": 0,
            "strange": [f"ended with {done.returncode}: {done.stderr[-500:]}"],
            "said": "",
        }
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path)
    wanted = parser.parse_args()
    if wanted.child:
        print(json.dumps(child([wanted.child], wanted.number, wanted.seed)))
        return
    worst: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in BOMBS.items():
            path = Path(folder) / name
            make(path)
            told = in_child(path, 0, 0)
            path.unlink()
            worst.append(told)
            print(f"{name:20} {told['grown'] / 1e6:7.0f} MB {told['slowest']:6.2f} s  {told['said'] or 'opened'}"[:150])
        for name, data in every_kind(Path(folder)).items():
            path = Path(folder) / name
            path.write_bytes(data)
            told = in_child(path, wanted.number, wanted.seed)
            worst.append(told)
            said = f"{told.get('refused', 0)} of {wanted.number} refused"
            print(f"{name:20} {told['grown'] / 1e6:7.0f} MB {told['slowest']:6.2f} s  {said}")
    strange = [each for told in worst for each in told["strange"]]
    print(f"\nother exceptions than ours, or processes that died: {len(strange)} (0)")
    print(f"slowest: {max(told['slowest'] for told in worst):.2f} s (under {MOST_SECONDS:.0f})")
    print(f"most memory: {max(told['grown'] for told in worst) / 1e6:.0f} MB (under {MOST_BYTES / 1e6:.0f})")
    print("\n".join(dict.fromkeys(strange)))


if __name__ == "__main__":
    main()
