"""Scores the built-in splitter, and the baseline in the same run, on composed scenes.

    python -m tests.bench.bench_splitter --seed 1 2 --sheets DIR --json FILE

Each line is a scene: soft IoU and RGB L1 after five merges, `found` (mean of the true layers' best soft IoU) and the
share of layers found over .9, fill error, seconds, CPU seconds and the process's peak memory. Times are of the splitter
with its finish; models are loaded by a first, small picture that is not counted.

Pictures come from Debian: apt-get install openclipart-png tuxpaint-stamps-default mate-backgrounds fonts-dejavu-extra
fonts-urw-base35. Seeds that differ modulo four share no clip art: tune on some, report on others.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from bridge.backends.base import JobContext, Model, NoOptions
from bridge.backends.builtin.backend import Builtin
from bridge.decompose import Finished, decompose
from bridge.picture import Picture
from bridge.settings import Settings
from tests.bench import baseline, stackscore
from tests.bench.scenes import Scene, scenes

EDITS = 5
FOUND = 0.9
Layers = list[NDArray[np.uint8]]
Splitter = Callable[[NDArray[np.uint8]], tuple[Layers, list[str]]]


@dataclass(frozen=True)
class Row:
    splitter: str
    seed: int
    scene: str
    kind: str
    true_layers: int
    layers: int
    iou: float
    l1: float
    found: float
    found_share: float
    fill_error: float
    seconds: float
    cpu: float
    peak_mb: float
    found_each: list[float]
    kinds: list[str]


def _baseline(picture: NDArray[np.uint8]) -> tuple[Layers, list[str]]:
    return baseline.split(picture), ["Background", "Salient"]


def _builtin(model: Model, layers: str) -> Splitter:
    settings = Settings.model_validate({"num_layers": layers if layers == "auto" else int(layers)})

    def split(picture: NDArray[np.uint8]) -> tuple[Layers, list[str]]:
        height, width = picture.shape[:2]
        opaque = np.full((height, width), 255, np.uint8)
        out, names = Layers(), list[str]()
        for step in decompose(Picture(np.dstack([picture, opaque])), settings, model, JobContext(seed=0)):
            if isinstance(step, Finished):
                canvas = np.zeros((height, width, 4), np.uint8)
                left, top, w, h = step.layer.rect
                canvas[top : top + h, left : left + w] = cast("NDArray[np.uint8]", step.layer.pixels)
                out.append(canvas)
                names.append(step.layer.name)
        return out, names

    return split


def _reset_peak() -> None:
    with suppress(OSError):  # not Linux, or not allowed: the peak is then the run's, not the scene's
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        return psutil.Process().memory_info().rss / 2**20


def measure(name: str, split: Splitter, scene: Scene, seed: int) -> tuple[Row, Layers, list[str]]:
    """Split one scene and score the result."""
    _reset_peak()
    began, cpu = time.perf_counter(), time.process_time()
    layers, names = split(scene.picture)
    seconds, cpu, peak = time.perf_counter() - began, time.process_time() - cpu, _peak_mb()
    l1, iou = stackscore.score(layers, scene.layers, EDITS)[-1]
    each = stackscore.found(layers, scene.layers)
    row = Row(
        splitter=name,
        seed=seed,
        scene=scene.name,
        kind=scene.kind,
        true_layers=len(scene.layers),
        layers=len(layers),
        iou=iou,
        l1=l1,
        found=float(np.mean(each)),
        found_share=float(np.mean([value > FOUND for value in each])),
        fill_error=stackscore.fill_error(layers, scene.layers),
        seconds=seconds,
        cpu=cpu,
        peak_mb=peak,
        found_each=[round(value, 4) for value in each],
        kinds=scene.kinds[1:],
    )
    return row, layers, names


HEADER = (
    f"{'':10}{'scene':28}{'true':>5}{'got':>4}{'IoU':>7}{'L1':>7}"
    f"{'found':>7}{'>.9':>6}{'fill':>7}{'s':>7}{'CPU s':>7}{'MB':>6}"
)


def _line(splitter: str, scene: str, rows: list[Row]) -> str:
    def mean(field: str) -> float:
        return float(np.mean([getattr(row, field) for row in rows]))

    # Shares are of layers, not of scenes: a scene of eight layers counts for more than one of three.
    share = np.mean([value > FOUND for row in rows for value in row.found_each])
    return (
        f"{splitter:10}{scene:28}{mean('true_layers'):5.1f}{mean('layers'):4.0f}{mean('iou'):7.3f}{mean('l1'):7.4f}"
        f"{mean('found'):7.3f}{share:6.0%}{mean('fill_error'):7.3f}{mean('seconds'):7.2f}{mean('cpu'):7.2f}"
        f"{max(row.peak_mb for row in rows):6.0f}"
    )


def summary(rows: list[Row]) -> list[str]:
    """Means per splitter: over each kind of scene, over the kinds of layers, and over all. Memory is the highest."""
    lines = []
    for splitter in dict.fromkeys(row.splitter for row in rows):
        own = [row for row in rows if row.splitter == splitter]
        for kind in dict.fromkeys(row.kind for row in own):
            lines.append(_line(splitter, f"mean of {kind}s", [row for row in own if row.kind == kind]))
        lines.append(_line(splitter, f"MEAN OF {len(own)}", own))
        for kind in ("object", "text"):
            each = [v for row in own for v, k in zip(row.found_each, row.kinds, strict=True) if k == kind]
            if each:
                share = np.mean([value > FOUND for value in each])
                lines.append(
                    f"{splitter:10}{len(each)} {kind} layers: found {np.mean(each):.3f}, {share:.0%} over {FOUND}"
                )
    return lines


def _thumbnail(pixels: NDArray[np.uint8], title: str, side: int = 260) -> NDArray[np.uint8]:
    """A layer on a checkerboard, with its name above."""
    scale = side / max(pixels.shape[:2])
    alpha = (
        pixels[..., 3:].astype(np.float32) / 255
        if pixels.shape[2] == 4
        else np.ones((*pixels.shape[:2], 1), np.float32)
    )
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(np.dstack([pixels[..., :3] * alpha, alpha * 255]), size, interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    board = np.where((y // 10 + x // 10) % 2, 200.0, 245.0)[..., None]
    shown = small[..., :3] + board * (1 - small[..., 3:] / 255)
    tile = np.full((side + 24, side + 6, 3), 40, np.uint8)
    tile[22 : 22 + size[1], 3 : 3 + size[0]] = np.clip(shown, 0, 255)
    title = title.encode("ascii", "replace").decode()
    cv2.putText(tile, title[:36], (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def sheet(scene: Scene, layers: Layers, row: Row, names: list[str]) -> NDArray[np.uint8]:
    """The picture and its true layers in one row, with how well each was found; the layers got below."""
    found = [f"{kind} {value:.2f}" for kind, value in zip(row.kinds, row.found_each, strict=True)]
    true = [_thumbnail(scene.picture, f"{scene.name} IoU {row.iou:.2f}")]
    true += [_thumbnail(layer, title) for layer, title in zip(scene.layers, ["true back", *found], strict=True)]
    got = [_thumbnail(scene.picture, f"{row.splitter} fill {row.fill_error:.3f}")]
    got += [_thumbnail(layer, title) for layer, title in zip(layers, names, strict=True)]
    columns = max(len(true), len(got))
    blank = np.full_like(true[0], 40)
    return np.vstack([np.hstack(line + [blank] * (columns - len(line))) for line in (true, got)])


def _splitters(layers: str, with_baseline: bool) -> dict[str, Splitter]:
    splitters: dict[str, Splitter] = {"baseline": _baseline} if with_baseline else {}
    with Builtin().open(NoOptions()) as model:
        return {**splitters, "builtin": _builtin(model, layers)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--each", type=int, default=6, help="scenes of each kind")
    parser.add_argument("--only", help="only scenes with this in their name")
    parser.add_argument("--size", type=float, default=1.0, help="megapixels")
    parser.add_argument("--layers", default="auto", help="auto, or at most this many")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--sheets", type=Path, help="write a contact sheet of each scene here")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()

    splitters = _splitters(options.layers, not options.no_baseline)
    warm_up = next(scenes(seed=0, size=0.1, each=1)).picture
    for split in splitters.values():
        split(warm_up)
    rows: list[Row] = []
    print(HEADER)
    for seed in options.seed:
        for scene in scenes(seed, options.size, options.each, options.only):
            for name, split in splitters.items():
                row, layers, names = measure(name, split, scene, seed)
                rows.append(row)
                print(_line(name, f"{seed}/{scene.name}", [row]), flush=True)
                if options.sheets:
                    options.sheets.mkdir(parents=True, exist_ok=True)
                    path = options.sheets / f"{seed}-{scene.name}-{name}.png"
                    cv2.imwrite(str(path), cv2.cvtColor(sheet(scene, layers, row, names), cv2.COLOR_RGB2BGR))
    print(*summary(rows), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
