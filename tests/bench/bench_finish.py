"""The finish on a 3840×2160 picture with five layers: seconds per step, and as ratios to one copy of the same stack.

python -m tests.bench.bench_finish [--width 3840 --height 2160]
"""

import argparse
import resource
import time

import cv2
import numpy as np

from bridge.finish.exact import make_exact
from bridge.finish.fit import fit_to_canvas
from bridge.finish.measure import measure
from bridge.finish.names import name_layers
from bridge.finish.tidy import crop_layers, drop_blank_layers
from bridge.picture import Layer, Picture, Stack


def scene(width: int, height: int, seed: int = 0) -> tuple[Picture, Stack]:
    """A textured picture, and a damaged draft of it: a whole background and four soft-edged blobs, colours noised."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    back = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    layers = [Layer("", np.dstack([back, np.full((height, width), 255, np.uint8)]), kind="background")]
    flat = back.astype(np.float32)
    for k in range(4):
        alpha = np.zeros((height, width), np.uint8)
        middle = (int(width * (0.2 + 0.2 * k)), int(height * (0.3 + 0.4 * (k % 2))))
        cv2.ellipse(alpha, middle, (width // 8, height // 5), 20 * k, 0, 360, 255, -1)
        alpha = cv2.GaussianBlur(alpha, (0, 0), 3)
        colour = np.roll(back, 97 * (k + 1), (0, 1)) // 2 + 40 * k
        share = alpha[..., None].astype(np.float32) / 255
        flat = flat + (colour - flat) * share
        noised = np.clip(colour.astype(np.int16) + rng.integers(-6, 7, colour.shape), 0, 255).astype(np.uint8)
        layers.append(Layer("", np.dstack([noised, alpha])))
    picture = np.dstack([np.rint(flat).astype(np.uint8), np.full((height, width), 255, np.uint8)])
    return Picture(np.ascontiguousarray(picture)), Stack(tuple(layers), width, height)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    options = parser.parse_args()
    picture, draft = scene(options.width, options.height)
    began = time.perf_counter()
    copies = [layer.pixels.copy() for layer in draft.layers]
    copy = time.perf_counter() - began
    del copies
    print(f"{options.width}×{options.height}, 5 layers; one copy of the stack {copy:.3f} s")
    total = 0.0
    stack = draft
    steps = {
        "fit": lambda s: fit_to_canvas(s, picture),
        "blanks": drop_blank_layers,
        "exact": lambda s: make_exact(s, picture),
        "crop": crop_layers,
        "names": name_layers,
    }
    for name, step in steps.items():
        began = time.perf_counter()
        stack = step(stack)
        seconds = time.perf_counter() - began
        total += seconds
        print(f"  {name:8} {seconds:.3f} s  {seconds / copy:5.1f} copies")
    began = time.perf_counter()
    measured = measure(stack, picture)
    seconds = time.perf_counter() - began
    total += seconds
    print(f"  {'measure':8} {seconds:.3f} s  {seconds / copy:5.1f} copies")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"  {'all':8} {total:.3f} s  {total / copy:5.1f} copies; {measured}; peak {peak} MB")


if __name__ == "__main__":
    main()
