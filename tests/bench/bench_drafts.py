"""How well the finish mends what models damage: true stacks at one megapixel, blurred, recoloured, noised, disordered.

    python -m tests.bench.bench_drafts [--seed 31] [--each 2] [--size 4096x2731] [--peers] [--closed-form] [--worst 6]

Per layer, against the truth: soft IoU of the alphas; colour error of the foreground in the soft edge (levels of 255,
weighted by the true alpha). Per scene: visible pixels that are not the picture's own, pairs of overlapping layers in
the wrong order, seconds. Beside it the same drafts by plain bicubic upscaling, alone and made exact after it (the same
work then, but for the edges; it is told the order and which frames to leave out), and with --peers by OpenCV's guided
filter with the picture as its guide and by pymatting's multi-level foregrounds after it; --closed-form adds pymatting's
closed-form matting on a crop around each layer that is small enough for it. --worst writes the worst edges, before and
after, over black and over white, to tests/out.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.exact import make_exact
from bridge.finish.fit import Fitted, enlarge
from bridge.finish.measure import measure
from bridge.finish.sift import sift
from bridge.picture import Layer, Picture, Stack
from tests.bench.damage import Draft, damage, soft_iou
from tests.bench.scenes import Scene, scenes

U8 = NDArray[np.uint8]
OUT = Path(__file__).parents[1] / "out"
TURNS = 3
MOST_CLOSED_FORM = 700_000  # pixels of a crop: its memory grows by a kilobyte a pixel


@dataclass
class Scores:
    """Of one way, over all layers: soft IoU, foreground error, and seconds a scene."""

    iou: list[float] = field(default_factory=list)
    colour: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"soft IoU {np.mean(self.iou):.4f} (least {np.min(self.iou):.4f}), foreground error "
            f"{np.mean(self.colour):.2f}, {np.median(self.seconds):.2f} s a scene"
        )


def foreground_error(mine: U8, true: U8) -> float:
    """Mean colour error where the truth is soft, 0–255, weighted by the true alpha."""
    soft = (true[..., 3] > 0) & (true[..., 3] < 255)
    weight = true[..., 3][soft].astype(np.float64)
    off = np.abs(mine[..., :3][soft].astype(np.float64) - true[..., :3][soft]).mean(-1)
    return float((off * weight).sum() / max(weight.sum(), 1))


def on_canvas(layer: Layer, stack: Stack) -> U8:
    whole = np.zeros((stack.height, stack.width, 4), np.uint8)
    left, top, width, height = layer.rect
    whole[top : top + height, left : left + width] = layer.pixels
    return whole


def finish(draft: Draft, picture: Picture) -> tuple[Stack, dict[int, Layer], list[int], float]:
    """The finished stack, its layers by the number of the true one, their order, and seconds."""
    began = time.perf_counter()
    sifted = sift(draft.stack, picture)
    stack = make_exact(enlarge(sifted.stack, picture), picture)
    seconds = time.perf_counter() - began
    order = [_true_number(layer, draft) for layer in sifted.stack.layers]
    return stack, dict(zip(order, stack.layers, strict=True)), order, seconds


def _true_number(layer: Layer, draft: Draft) -> int:
    for number, each in zip(draft.true, draft.stack.layers, strict=True):
        if np.array_equal(each.pixels[..., :3], layer.pixels[..., :3]):
            return number
    raise LookupError("a layer that is not in the draft")


def wrong_order(order: list[int], true: list[U8]) -> tuple[int, int]:
    """Pairs of layers that overlap, and how many of them lie the wrong way round."""
    pairs = wrong = 0
    for i in range(len(true)):
        for j in range(i + 1, len(true)):
            both = (true[i][..., 3] > 127) & (true[j][..., 3] > 127)
            if i in order and j in order and np.count_nonzero(both) > 200:
                pairs += 1
                wrong += order.index(i) > order.index(j)
    return pairs, wrong


def bicubic(draft: U8, size: tuple[int, int]) -> U8:
    big = cv2.resize(draft, size, interpolation=cv2.INTER_CUBIC)
    alpha = big[..., 3]
    big[..., 3] = np.where(alpha >= 248, 255, np.where(alpha <= 6, 0, alpha))
    return big


def bicubic_exact(scene: Scene, draft: Draft, picture: Picture) -> tuple[list[U8], float]:
    """Plain upscaling of all layers, made exact as ours are; and its seconds."""
    began = time.perf_counter()
    size = (picture.width, picture.height)
    plain = [bicubic(draft.stack.layers[draft.true.index(k)].pixels, size) for k in range(len(scene.layers))]
    layers = tuple(Layer("", each) for each in plain)
    stack = make_exact(Fitted(Stack(layers, *size), [None] * len(layers), 1), picture)
    return [layer.pixels for layer in stack.layers], time.perf_counter() - began


def guided(draft: U8, picture: U8, radius: int) -> U8:
    """OpenCV's guided filter: the draft's alpha, filtered by the picture; pymatting's foreground under it."""
    from pymatting import estimate_foreground_ml  # pyright: ignore[reportMissingImports]

    big = bicubic(draft, (picture.shape[1], picture.shape[0]))
    rows, columns = (np.flatnonzero((big[..., 3] > 0).any(axis)) for axis in (1, 0))
    pad = 4 * radius
    area = np.s_[max(rows[0] - pad, 0) : rows[-1] + pad, max(columns[0] - pad, 0) : columns[-1] + pad]
    guide, alpha = picture[area][..., :3].copy(), big[area][..., 3].astype(np.float32) / 255
    found = cv2.ximgproc.guidedFilter(guide, alpha, radius, 1e-4 * 255 * 255).clip(0, 1)
    colours = estimate_foreground_ml(guide / 255.0, found.astype(np.float64))
    out = np.zeros_like(big)
    out[area] = np.dstack([colours.clip(0, 1) * 255, found * 255]).round()
    return out


def closed_form(draft: U8, picture: U8, true: U8, scale: float) -> tuple[float, float] | None:
    """pymatting's closed form on a crop: its soft IoU and seconds. None where the crop is too large."""
    from pymatting import estimate_alpha_cf  # pyright: ignore[reportMissingImports]

    big = bicubic(draft, (picture.shape[1], picture.shape[0]))
    rows, columns = (np.flatnonzero((big[..., 3] > 0).any(axis)) for axis in (1, 0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if (rows[-1] - rows[0]) * (columns[-1] - columns[0]) > MOST_CLOSED_FORM:
        return None
    alpha = big[area][..., 3]
    square = np.ones((int(2 * scale) | 1,) * 2, np.uint8)
    trimap = np.full(alpha.shape, 0.5)
    trimap[cv2.erode(alpha, square) >= 250] = 1
    trimap[cv2.dilate(alpha, square) <= 5] = 0
    if not (trimap == 1).any() or not (trimap == 0).any():
        return None
    began = time.perf_counter()
    found = estimate_alpha_cf(picture[area][..., :3] / 255.0, trimap)
    seconds = time.perf_counter() - began
    return soft_iou((found * 255).round().astype(np.uint8), true[area][..., 3]), seconds


@dataclass(frozen=True)
class Edge:
    """A piece of the worst edges: how bad, and before, after and truth (h, w, 4)."""

    off: float
    title: str
    pieces: tuple[U8, U8, U8]


def worst_edge(title: str, plain: U8, mine: U8, true: U8, side: int = 160) -> Edge:
    """Around the place where the finished alpha is furthest from the truth."""
    off = cv2.blur(np.abs(mine[..., 3].astype(np.float32) - true[..., 3]), (side // 4, side // 4))
    y, x = np.unravel_index(off.argmax(), off.shape)
    top = int(np.clip(y - side // 2, 0, off.shape[0] - side))
    left = int(np.clip(x - side // 2, 0, off.shape[1] - side))
    area = np.s_[top : top + side, left : left + side]
    return Edge(float(off.max()), title, (plain[area].copy(), mine[area].copy(), true[area].copy()))


def draw(edges: list[Edge], file: Path) -> None:
    """Each edge in a row: bicubic, finished, true, over black and then over white; twice the size."""
    rows = []
    for edge in edges:
        tiles = []
        for ground in (0.0, 255.0):
            for piece in edge.pieces:
                shown = ground + (piece[..., :3] - ground) * (piece[..., 3:] / 255.0)
                tiles.append(
                    cv2.copyMakeBorder(
                        shown.round().astype(np.uint8), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(128,) * 3
                    )
                )
        row = np.hstack(tiles)
        cv2.putText(
            row, f"{edge.title}: bicubic, finished, true", (8, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (128, 128, 128), 1
        )
        rows.append(row)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.vstack(rows)[..., ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--each", type=int, default=2, help="posters, cartoons and photographs, so many of each")
    parser.add_argument("--size", default="4096x2731")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--closed-form", action="store_true")
    parser.add_argument("--worst", type=int, default=6)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    ways = {name: Scores() for name in ("bicubic", "bicubic, exact", "ours", *(["guided"] if options.peers else []))}
    edges: list[Edge] = []
    cropped: list[tuple[float, float, float]] = []  # closed form's soft IoU, ours on the same layer, its seconds
    pairs = wrong = foreign = 0
    for number, scene in enumerate(scenes(options.seed, (width, height), options.each)):
        draft = damage(scene.layers, seed=options.seed * 100 + number)
        picture = Picture(np.dstack([scene.picture, np.full(scene.picture.shape[:2], 255, np.uint8)]))
        # By turns, and the best of each: other work on the machine must not decide.
        ours, exacts = [finish(draft, picture)], [bicubic_exact(scene, draft, picture)]
        for _ in range(TURNS - 1):
            ours.append(finish(draft, picture))
            exacts.append(bicubic_exact(scene, draft, picture))
        stack, layers, order, _ = ours[0]
        seconds = min(each[3] for each in ours)
        exact, took_exact = exacts[0][0], min(each[1] for each in exacts)
        ways["ours"].seconds.append(seconds)
        measured = measure(stack, picture)
        some, lost = wrong_order(order, scene.layers)
        pairs, wrong, foreign = pairs + some, wrong + lost, foreign + _foreign(layers, stack, scene, picture)
        missing = sorted(set(range(len(scene.layers))) - set(order))
        print(
            f"{scene.name}: {seconds:.2f} s, max error {measured.max_error}, given {draft.true}, kept {order}",
            flush=True,
        )
        if missing:
            print(f"  lost: {missing}")
        times = {"bicubic": 0.0, "bicubic, exact": took_exact, "guided": 0.0}
        for k, true, plain in _drafted(scene, draft):
            mine = on_canvas(layers[k], stack) if k in layers else np.zeros_like(true)
            results = {
                "bicubic": timed(bicubic, plain, (width, height)),
                "bicubic, exact": (exact[k], 0.0),
                "ours": (mine, 0.0),
            }
            if options.peers:
                radius = round(2 * width / draft.stack.width)
                results["guided"] = timed(guided, plain, picture.pixels, radius)
            for name, (result, took) in results.items():
                ways[name].iou.append(soft_iou(result[..., 3], true[..., 3]))
                ways[name].colour.append(foreground_error(result, true))
                times[name] = times.get(name, 0) + took
            said = ", ".join(f"{name} {way.iou[-1]:.4f} / {way.colour[-1]:.2f}" for name, way in ways.items())
            print(f"  {k} {scene.kinds[k]:7} {said}", flush=True)
            if options.closed_form and (found := closed_form(plain, picture.pixels, true, width / draft.stack.width)):
                cropped.append((found[0], ways["ours"].iou[-1], found[1]))
                print(f"            closed form {found[0]:.4f} in {found[1]:.1f} s", flush=True)
            edges.append(worst_edge(f"{scene.name} {scene.kinds[k]} {k}", results["bicubic"][0], mine, true))
        for name in ways.keys() - {"ours"}:
            ways[name].seconds.append(times[name])
    for name, way in ways.items():
        print(f"{name:14} {way.line()}")
    if cropped:
        theirs, ours, took = np.mean(cropped, 0)
        print(
            f"closed form, on {len(cropped)} layers: soft IoU {theirs:.4f}, ours there {ours:.4f}; {took:.1f} s a layer"
        )
    print(f"foreground error against bicubic: {np.mean(ways['ours'].colour) / np.mean(ways['bicubic'].colour):.3f}")
    print(f"visible pixels not the picture's own: {foreign}; overlapping pairs in the wrong order: {wrong} of {pairs}")
    if options.worst:
        draw(sorted(edges, key=lambda edge: -edge.off)[: options.worst], OUT / "worst-edges.png")


def _drafted(scene: Scene, draft: Draft) -> Iterator[tuple[int, U8, U8]]:
    """Number, truth and draft of each layer but the ground."""
    for k in range(1, len(scene.layers)):
        yield k, scene.layers[k], draft.stack.layers[draft.true.index(k)].pixels


def _foreign(layers: dict[int, Layer], stack: Stack, scene: Scene, picture: Picture) -> int:
    """Pixels where one layer alone is seen, opaque, and is not the picture's own colour."""
    count, covered = 0, np.zeros((stack.height, stack.width), bool)
    for layer in reversed(stack.layers):
        mine = on_canvas(layer, stack)
        alone = (mine[..., 3] == 255) & ~covered
        count += int(np.count_nonzero((mine != picture.pixels)[alone].any(-1)))
        covered |= mine[..., 3] > 0
    return count


def timed(work, *arguments) -> tuple[U8, float]:
    began = time.perf_counter()
    return work(*arguments), time.perf_counter() - began


if __name__ == "__main__":
    main()
