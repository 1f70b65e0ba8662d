"""The whole of the finish, from a model's draft of five layers to exact, named, measured ones: seconds, and memory.

    python -m tests.bench.bench_finish [--size 3840x2160 --size 7680x4320] [--depth U8 --depth U16 --depth F32]
                                       [--draft model|full] [--runs 3]

Each figure comes from a process of its own, so that its peak is the finish's: Python and its libraries, the picture,
its view, the draft and the layers. “copies” are times of one memcpy of the finished stack, measured in the same run.
--draft full: a faithful draft of the picture's own size whose layers all cover the canvas, the worst that the built-in
splitter can bring.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bridge.finish.encoding import encoding
from bridge.finish.exact import make_exact
from bridge.finish.fit import fit
from bridge.finish.measure import measure
from bridge.finish.names import name_layers
from bridge.finish.sift import sift
from bridge.finish.tidy import crop_layers
from bridge.picture import Layer, Picture, Stack
from tests.bench.damage import damage

DEPTHS = {"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}


def scene(width: int, height: int, seed: int = 0) -> list[np.ndarray]:
    """(height, width, 4) uint8: a textured background and four soft-edged blobs, each about a tenth of the canvas."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    back = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    layers = [np.dstack([back, np.full((height, width), 255, np.uint8)])]
    for k in range(4):
        alpha = np.zeros((height, width), np.uint8)
        middle = (int(width * (0.2 + 0.2 * k)), int(height * (0.3 + 0.4 * (k % 2))))
        cv2.ellipse(alpha, middle, (width // 8, height // 5), 20 * k, 0, 360, 255, -1)
        alpha = cv2.GaussianBlur(alpha, (0, 0), width / 2500)
        layers.append(np.dstack([np.roll(back, 97 * (k + 1), (0, 1)) // 2 + 40 * k, alpha]))
    return layers


def full_scene(width: int, height: int) -> list[np.ndarray]:
    """The same background, and four layers of soft stripes that reach from edge to edge."""
    layers = scene(width, height)[:1]
    for k in range(4):
        wave = np.sin(np.arange(height)[:, None] / 40 + k) * np.sin(np.arange(width)[None] / 300 + k)
        alpha = (wave * 800).clip(0, 255).astype(np.uint8)
        layers.append(np.dstack([np.roll(layers[0][..., :3], 53 * (k + 1), 0), alpha]))
    return layers


def flattened(layers: list[np.ndarray]) -> np.ndarray:
    flat = layers[0][..., :3].astype(np.float32)
    for layer in layers[1:]:
        flat += (layer[..., :3] - flat) * (layer[..., 3:].astype(np.float32) / 255)
    return np.dstack([flat.round(), np.full(flat.shape[:2], 255.0, np.float32)]).astype(np.uint8)


def prepare(folder: Path, width: int, height: int, depth: str, draft: str) -> None:
    """Picture, view and draft as files."""
    layers = scene(width, height) if draft == "model" else full_scene(width, height)
    view = flattened(layers)
    np.save(folder / "view.npy", view)
    if depth != "U8":
        form, rng = encoding("RGBA", DEPTHS[depth]), np.random.default_rng(1)
        unit = view.astype(np.float32) / np.float32(255)
        unit[..., :3] += rng.uniform(-0.4 / 255, 0.4 / 255, (height, width, 1)).astype(np.float32)
        np.save(folder / "picture.npy", form.from_unit(unit))
    drafted = [layer.pixels for layer in damage(layers, seed=1).stack.layers] if draft == "model" else layers
    np.savez(folder / "draft.npz", *drafted)


def run(folder: Path, depth: str) -> dict[str, Any]:
    """In a process of its own: seconds by step, and the peak."""
    view = np.load(folder / "view.npy")
    picture = Picture(view) if depth == "U8" else Picture(np.load(folder / "picture.npy"), view=view)
    with np.load(folder / "draft.npz") as file:
        drafted = [file[name] for name in file.files]
    draft = Stack(tuple(Layer("", each) for each in drafted), drafted[0].shape[1], drafted[0].shape[0])
    before = peak()
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - began
        return result

    sifted = timed("sift", lambda: sift(draft, picture))
    named = timed("names", lambda: name_layers(sifted.stack))
    fitted = timed("fit", lambda: fit(named, picture, faithful=sifted.faithful))
    exact = timed("exact", lambda: make_exact(fitted, picture))
    stack = timed("crop", lambda: crop_layers(exact))
    measured = timed("measure", lambda: measure(stack, picture))
    most = peak()
    copies = [time_copy(stack) for _ in range(3)]
    return {
        "seconds": seconds,
        "copy": min(copies),
        "before": before,
        "peak": most,
        "layers": len(stack.layers),
        "megabytes": sum(layer.pixels.nbytes for layer in stack.layers) / 1e6,
        "max_error": measured.max_error,
        "exact_share": measured.exact_share,
    }


def time_copy(stack: Stack) -> float:
    began = time.perf_counter()
    copies = [layer.pixels.copy() for layer in stack.layers]
    seconds = time.perf_counter() - began
    del copies
    return seconds


def peak() -> float:
    """Of this process so far, in megabytes. getrusage would tell the parent's where that was larger."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="width x height")
    parser.add_argument("--depth", action="append", choices=DEPTHS)
    parser.add_argument("--draft", choices=["model", "full"], default="model")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(run(options.folder, options.depth[0])))
        return
    for size in options.size or ["3840x2160", "7680x4320"]:
        width, height = map(int, size.split("x"))
        for depth in options.depth or ["U8", "U16", "F32"]:
            with tempfile.TemporaryDirectory() as folder:
                prepare(Path(folder), width, height, depth, options.draft)
                runs = [_child(folder, depth) for _ in range(options.runs)]
            show(f"{size} {depth}, {options.draft} draft", runs)


def _child(folder: str, depth: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.bench_finish", "--folder", folder, "--depth", depth]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def show(title: str, runs: list[dict[str, Any]]) -> None:
    """The run that took the median time, and the span of all."""
    totals = sorted((sum(each["seconds"].values()), number) for number, each in enumerate(runs))
    total, number = totals[len(totals) // 2]
    one = runs[number]
    print(f"{title}: {one['layers']} layers, {one['megabytes']:.0f} MB; one copy of them {one['copy']:.3f} s")
    for name, seconds in one["seconds"].items():
        print(f"  {name:8} {seconds:.3f} s  {seconds / one['copy']:6.1f} copies")
    print(
        f"  {'all':8} {total:.3f} s  {total / one['copy']:6.1f} copies  "
        f"(runs {totals[0][0]:.2f}–{totals[-1][0]:.2f} s); "
        f"peak {one['peak']:.0f} MB, {one['before']:.0f} before; "
        f"max error {one['max_error']:g}, identical {one['exact_share']:.5%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
