"""A large batch of pictures whose names clash, killed again and again: every picture has its own result at the end.

Run: python -m tests.bench.bench_batch [--pictures 1000] [--kills 10]. The pictures lie in three folders, under the same
names, some of which differ in case, in their ending or in how accents are written. Each has a width and a colour of its
own, by which its result is known. The splitter is the tests' trial backend, which notes each picture that it begins.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tests.unit.command.running import CommandLine
from tests.unit.trial.backends import notes

FOLDERS = ("one", "two", "three")
FORMS = ("p{0:03}.png", "p{0:03}.jpg", "P{0:03}.png", "\u00e9{0:03}.png", "e\u0301{0:03}.png", "p{0:03}.png.png")
LEFT, TOP = 4, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = draw(folder, given.pictures)
        line = CommandLine(folder, trial=True)
        began = time.monotonic()
        kills = [run(line, killed=True) for _ in range(given.kills)]
        last = run(line, killed=False)
        took = time.monotonic() - began
        again = run(line, killed=False)
        report(folder, made, line, kills, last, again, took)


def draw(folder: Path, count: int) -> dict[tuple[int, int, int], Path]:
    """The pictures by their colours."""
    made: dict[tuple[int, int, int], Path] = {}
    for number in range(count):
        place, form = FOLDERS[number % 3], FORMS[number // 3 % len(FORMS)]
        path = folder / place / form.format(number // 3 // len(FORMS))
        path.parent.mkdir(exist_ok=True)
        colour = (number % 16 * 16, number // 16 % 16 * 16, number // 256 * 16)
        image = Image.new("RGB", (64, 48), colour)
        ImageDraw.Draw(image).rectangle((24, 16, 40, 32), (255, 255, 255))
        options: dict[str, Any] = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
        image.save(path, **options)
        made[colour] = path
    return made


def run(line: CommandLine, *, killed: bool) -> str:
    """One run of the batch, or a part of it: the last line that it said."""
    process = line.start("batch", *FOLDERS, "-o", "out", "--backend", "trial")
    if killed:
        before = len(notes(line.data, "at work"))
        wanted = before + random.randint(1, 120)
        while process.poll() is None and len(notes(line.data, "at work")) < wanted:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    _, told = process.communicate(timeout=900)
    return told.splitlines()[-1] if told else ""


def report(
    folder: Path,
    made: dict[tuple[int, int, int], Path],
    line: CommandLine,
    kills: list[str],
    last: str,
    again: str,
    took: float,
) -> None:
    found: dict[tuple[int, int, int], int] = {}
    for result in (folder / "out").glob("*.ora"):
        with zipfile.ZipFile(result) as archive, archive.open("mergedimage.png") as merged:
            r, g, b = Image.open(merged).convert("RGB").getpixel((LEFT, TOP))  # pyright: ignore
        nearest = min(made, key=lambda each: sum(abs(x - y) for x, y in zip(each, (r, g, b), strict=True)))
        found[nearest] = found.get(nearest, 0) + 1
    begun = len(notes(line.data, "at work"))
    print(f"{len(made)} pictures, {len(kills)} kills, {took:.0f} s; the last run: {last}")
    print(f"results: {sum(found.values())}, of {len(found)} pictures; pictures begun: {begun}, of which more than once")
    print(f"{begun - len(made)} (one may be under way at each kill); run once more: {again}")


if __name__ == "__main__":
    sys.exit(main())
