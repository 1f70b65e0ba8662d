"""The largest pictures that are taken, in figures: what opening one of each kind takes of memory and time.

Run: python -m tests.bench.bench_large_files [KIND …]. Each has 120 megapixels and is opened in a process of its own.
Wanted: one and a half times the bytes of its own pixels at most, beyond the libraries' memory. WebP's decoder keeps a
copy of a lossless picture itself.
"""

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from bridge.files.load import load_picture
from tests.bench.bench_hostile_files import resident

WIDTH, HEIGHT, TILE = 12_000, 10_000, 1000
AT_MOST = 1.5
ROTATED = 6
"""EXIF's word for a picture that a phone took upright."""

Pixels = np.ndarray[Any, np.dtype[Any]]


def pixels(channels: int, dtype: type[np.generic] = np.uint8) -> Pixels:
    """(HEIGHT, WIDTH, channels): one soft and noisy tile again and again; with alpha where there are two or four."""
    rng = np.random.default_rng(1)
    slope = np.linspace(0, 200, TILE)
    tile = (slope[:, None, None] + slope[None, :, None]) / 2 + rng.integers(0, 16, (TILE, TILE, channels))
    if dtype == np.uint16:
        tile *= 257
    return np.tile(tile.astype(dtype), (HEIGHT // TILE, WIDTH // TILE, 1))


def save(path: Path, channels: int = 3, mode: str | None = None, **options: Any) -> None:
    Image.fromarray(pixels(channels).squeeze(), mode).save(path, **options)


def save_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[274] = ROTATED
    save(path, exif=exif.tobytes(), quality=90)


def save_psd(path: Path, channels: int = 3) -> None:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, HEIGHT, WIDTH, 8, 3)
    with open(path, "wb") as file:
        file.write(head + bytes(12) + b"\0\0")
        for band in np.moveaxis(pixels(channels), 2, 0):
            file.write(band.tobytes())


KINDS: dict[str, Callable[[Path], None]] = {
    "rgb.png": lambda path: save(path, compress_level=1),
    "rgba.png": lambda path: save(path, 4, compress_level=1),
    "grey.png": lambda path: save(path, 1, compress_level=1),
    "deep.png": lambda path: _write(path, imagecodecs.png_encode(pixels(3, np.uint16), level=1)),
    "deep-alpha.png": lambda path: _write(path, imagecodecs.png_encode(pixels(4, np.uint16), level=1)),
    "rgb.jpg": lambda path: save(path, quality=90),
    "rotated.jpg": save_rotated,
    "cmyk.jpg": lambda path: save(path, 4, "CMYK", quality=90),
    "lossy.webp": lambda path: save(path, quality=80, method=0),
    "lossless.webp": lambda path: save(path, lossless=True, method=0, quality=0),
    "rgb.tif": lambda path: save(path, compression="tiff_lzw"),
    "deep.tif": lambda path: _write(path, imagecodecs.tiff_encode(pixels(3, np.uint16))),
    "rgb.bmp": save,
    "rgb.psd": save_psd,
    "rgba.psd": lambda path: save_psd(path, 4),
}


def _write(path: Path, data: Any) -> None:
    path.write_bytes(bytes(data))


def child(path: Path) -> dict[str, float]:
    small = path.with_name("small-" + path.name)
    if small.exists():  # so that the libraries are there already
        load_picture(small)
    before = resident("VmRSS")
    began = time.monotonic()
    picture = load_picture(path)
    return {
        "seconds": time.monotonic() - began,
        "peak": resident("VmHWM") - before,
        "own": picture.pixels.nbytes,
    }


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]))))
        return
    folder_given = Path(sys.argv[1]) if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir() else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder_given or Path(temporary)
        for name, make in KINDS.items():
            path = folder / name
            if not path.exists():
                make(path)
            command = [sys.executable, "-m", "tests.bench.bench_large_files", "--child", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name:16} {done.stderr.splitlines()[-1]}")
                continue
            told = json.loads(done.stdout)
            share = told["peak"] / told["own"]
            print(
                f"{name:16} {path.stat().st_size / 1e6:5.0f} MB file, {told['own'] / 1e6:4.0f} MB own, "
                f"{told['peak'] / 1e6:5.0f} MB peak = {share:.2f}, {told['seconds']:5.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
