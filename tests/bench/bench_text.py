"""How well the built-in splitter reads and cuts out text: figures for posters whose lines are known to the pixel.

    python -m tests.bench.bench_text [--width 1000] [--only flower] [--sheets DIR] [--scenes SEED]

soft IoU: of each true line's alpha with the layer that fits it best. left: what of the lettering's difference from the
ground is still in the picture outside the layers' holes, in levels of 255 (the 99.9th percentile around the line).
ground: how far the picture without its text is from the true ground where text was, in levels (mean, 99th percentile).
--scenes takes the text layers of tests/bench/scenes.py instead. Sheets show the picture, the text over white and over
black, and the holes.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.base import JobContext
from bridge.backends.builtin.saliency import salience
from bridge.backends.builtin.splitter import lift_text
from bridge.backends.builtin.text import TextLayer, find_text
from tests.bench import posters, scenes

Case = tuple[str, str, NDArray[np.uint8], list[tuple[str, NDArray[np.float32]]], NDArray[np.uint8] | None]


def cases(width: int, only: str | None, seed: int | None, megapixels: float) -> Iterator[Case]:
    """Name, kind, picture, the true lines' words and alphas, and the ground where it is known."""
    if seed is None:
        for poster in posters.POSTERS:
            if only is None or only in poster.name:
                made = posters.make(poster, width)
                yield poster.name, poster.ground_kind, made.flat, made.texts, made.ground
        return
    for scene in scenes.scenes(seed=seed, size=megapixels, only=only):
        words: list[tuple[str, NDArray[np.float32]]] = [
            ("line", layer[..., 3].astype(np.float32) / np.float32(255))
            for layer, kind in zip(scene.layers, scene.kinds, strict=True)
            if kind == "text"
        ]
        yield scene.name, scene.kind, scene.picture, words, None


def full(layer: TextLayer, shape: tuple[int, int]) -> NDArray[np.float32]:
    out = np.zeros(shape, np.float32)
    out[layer.place()] = layer.alpha
    return out


def soft_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.minimum(a, b).sum() / max(1e-6, np.maximum(a, b).sum()))


def left_behind(
    picture: NDArray[np.uint8], ground: NDArray[np.uint8], alpha: NDArray[np.float32], hole: NDArray[np.bool_]
) -> float:
    around = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    rest = np.abs(picture.astype(np.float32) - ground).max(-1)
    return float(np.percentile(np.where(hole, 0, rest)[around], 99.9)) if around.any() else 0.0


def ground_error(
    picture: NDArray[np.uint8], ground: NDArray[np.uint8], texts: list[NDArray[np.float32]], layers: list[TextLayer]
) -> tuple[float, float]:
    rest, _ = lift_text(picture, layers, JobContext(seed=1))
    under = np.max(texts, axis=0) > 0
    error = np.abs(rest.astype(np.float32) - ground).mean(-1)[under]
    return float(error.mean()), float(np.percentile(error, 99))


def sheet(picture: NDArray[np.uint8], layers: list[TextLayer], path: Path) -> None:
    height, width = picture.shape[:2]
    colour, alpha = np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1), np.float32)
    hole = np.zeros((height, width), bool)
    for layer in layers:
        part = layer.place()
        a = layer.alpha[..., None]
        colour[part] = layer.ink * a + colour[part] * (1 - a)
        alpha[part] = a + alpha[part] * (1 - a)
        hole |= layer.hole(height, width)
    views = [picture, colour + 255 * (1 - alpha), colour, np.where(hole[..., None], np.uint8(127), picture)]
    views = [np.clip(view, 0, 255).astype(np.uint8)[..., ::-1] for view in views]
    cv2.imwrite(str(path), np.vstack([np.hstack(views[:2]), np.hstack(views[2:])]))


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--width", type=int, default=1000)
    parse.add_argument("--only")
    parse.add_argument("--sheets", type=Path)
    parse.add_argument("--scenes", type=int, metavar="SEED")
    parse.add_argument("--protect", action="store_true", help="let print on objects stay with them")
    parse.add_argument("--megapixels", type=float, default=1.0)
    args = parse.parse_args()
    found: dict[str, list[float]] = {}
    false = 0
    for name, kind, picture, truth, ground in cases(args.width, args.only, args.scenes, args.megapixels):
        wall, cpu = time.perf_counter(), time.process_time()
        layers = find_text(picture, protect=salience(picture) if args.protect else None)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        shape = picture.shape[:2]
        alphas = [full(layer, shape) for layer in layers]
        scores = [max((soft_iou(a, true) for a in alphas), default=0.0) for _, true in truth]
        false += sum(max((soft_iou(a, true) for _, true in truth), default=0.0) < 0.1 for a in alphas)
        found.setdefault(kind, []).extend(scores)
        line = f"{name:14} {wall:5.2f} s, {cpu:5.2f} s CPU"
        if ground is not None:
            hole = np.any([layer.hole(*shape) for layer in layers], axis=0) if layers else np.zeros(shape, bool)
            left = max(left_behind(picture, ground, true, hole) for _, true in truth)
            mean, most = ground_error(picture, ground, [true for _, true in truth], layers)
            line += f", left {left:5.1f}, ground {mean:5.2f} {most:6.2f}"
        print(
            line,
            " ".join(f"{text[:10]!r} {score:.3f}" for (text, _), score in zip(truth, scores, strict=True)),
            [layer.text for layer in layers],
            flush=True,
        )
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            sheet(picture, layers, args.sheets / f"{name}.png")
    for kind, scores in found.items():
        if not scores:
            continue
        print(
            f"{kind:14} lines {len(scores):3}  mean soft IoU {np.mean(scores):.3f}  least {min(scores):.3f}"
            f"  over .9 {np.mean(np.array(scores) > 0.9):.0%}"
        )
    print("layers that are no true line:", false)


if __name__ == "__main__":
    main()
