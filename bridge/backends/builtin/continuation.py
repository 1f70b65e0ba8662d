"""The outlines of the regions around a hole, continued through it.

The places where an outline runs into the hole are joined in pairs by smooth curves that bend as little as they can and
never cross.
Source: Masnou and Morel, "Level Lines Based Disocclusion" (1998), for regions instead of grey levels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import SQUARE, Floats, Labels, Mask
from bridge.backends.builtin.regions import RegionParams, Regions, mean_colours

Points = NDArray[np.float64]
"""(N, 2) x y."""

BORDER = -1
"""The label beyond the canvas, where any region may end."""
SUBPIXEL_BITS = 4
"""Of a coordinate's fraction, in OpenCV's drawing."""
CURVE_STEP = 2
"""Pixels between two points of a curve, about."""
RAY_STEP = 0.5
"""Pixels between two points of a straight line."""


@dataclass(frozen=True)
class ContinuationParams:
    """How outlines are read beside the hole and joined in it. Lengths in pixels of the reduced picture."""

    even_rim: float = 4.0
    """A place on the hole's rim that is no further than this from a region belongs to it."""
    shortest_run: int = 3
    """Fewer pixels of one region along the rim are noise."""
    reach: int = 18
    """How far from the hole an outline is followed to learn its direction."""
    uncertain: float = 2.0
    """So close to the hole a region's edge is only known to a pixel or two, and does not count."""
    fewest_places: int = 4
    """An outline of fewer places gives no direction."""
    straightness: float = 4.0
    """The variance of those places along the outline is at least so many times the one across it."""
    most_moved: float = 3.0
    """How far the outline's end is moved onto the line fitted to it."""
    one_sided: float = 3.0
    """What joining ends that share one region costs more than the same bend between ends that share both."""
    alone: float = 4.0
    """What an end that is joined to none costs."""
    free_run: float = 4.0
    """How far such an end runs straight on before other curves can stop it."""
    most_ends: int = 24
    """Where more outlines than this run into the hole, the ground is a pattern."""
    most_repeated: int = 12
    """The same where the colours of the rim come again in this many pieces."""
    repeated_alike: float = 10.0
    """Levels by which such pieces' colours may differ from the rim's."""


PARAMS = ContinuationParams()


@dataclass(frozen=True)
class _End:
    """Where an outline runs into the hole: its place and direction inwards (x, y), the regions before and after it."""

    at: Points
    inwards: Points
    before: int
    after: int


def _rim(hole: Mask, regions: Regions, params: ContinuationParams) -> list[tuple[NDArray[np.intp], Labels]]:
    """The pixels just around each piece of the hole, in order, (N, 2) x y, and their regions (or BORDER)."""
    around = cv2.dilate(hole.astype(np.uint8), SQUARE)
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rims = list[tuple[NDArray[np.intp], Labels]]()
    for contour in contours:
        points = contour[:, 0].astype(np.intp)
        labels = np.where(hole[points[:, 1], points[:, 0]], BORDER, regions.labels[points[:, 1], points[:, 0]])
        rims.append((points, _without_specks(labels.astype(np.int32), params.shortest_run)))
    return rims


def rim_evenness(hole: Mask, regions: Regions, params: ContinuationParams = PARAMS) -> float:
    """The share of the hole's outer rim that lies in or beside an even region, 0…1; 1 where there is no rim."""
    points = np.concatenate([points[labels != BORDER] for points, labels in _rim(hole, regions, params)])
    if not len(points):
        return 1.0
    return float((regions.distance[points[:, 1], points[:, 0]] <= params.even_rim).mean())


def _without_specks(labels: Labels, shortest: int) -> Labels:
    """Runs of fewer than `shortest` pixels take the label before them."""
    if len(labels) < 4 * shortest or (labels == labels[0]).all():
        return labels
    turn = int(np.flatnonzero(labels != np.roll(labels, 1))[0])
    out = np.roll(labels, -turn)
    starts = np.flatnonzero(np.diff(out, prepend=out[0] - 1))
    for start, end in zip(starts, [*starts[1:], len(out)], strict=True):
        if end - start < shortest and start > 0:
            out[start:end] = out[start - 1]
    return np.roll(out, turn)


def _outline(
    regions: Regions, hole: Mask, at: Points, pair: tuple[int, int], params: ContinuationParams
) -> tuple[Points, Points]:
    """Where exactly, and in which direction (a unit vector), the outline between two regions enters the hole near `at`.

    A line is fitted to the outline outside, and the end moves onto it. Where there is none, the end points to the
    middle of the hole near by.
    """
    reach = params.reach
    spots = _between(regions, hole, at, pair, reach)
    away = spots - at
    far = np.hypot(away[:, 0], away[:, 1])
    clear = (far <= reach) & (far > params.uncertain)
    if clear.sum() >= params.fewest_places:
        away, weight = away[clear], np.exp(-far[clear] / (reach / 2))
        centre = weight @ away / weight.sum()
        values, vectors = np.linalg.eigh(((away - centre) * weight[:, None]).T @ (away - centre))
        line = vectors[:, 1]
        if values[1] > params.straightness * max(values[0], 1e-9):
            line = -line * np.sign(centre @ line or 1.0)
            moved = centre - (centre @ line) * line
            return at + (moved if np.hypot(*moved) <= params.most_moved else 0.0), line
    left, top = max(0, round(at[0]) - reach), max(0, round(at[1]) - reach)
    rows, columns = np.nonzero(hole[top : round(at[1]) + reach + 1, left : round(at[0]) + reach + 1])
    inwards = np.array([columns.mean() + left, rows.mean() + top]) - at
    return at, inwards / max(float(np.hypot(*inwards)), 1e-6)


def _between(regions: Regions, hole: Mask, at: Points, pair: tuple[int, int], reach: int) -> Points:
    """(N, 2) x y: the places outside the hole, within about `reach` of `at`, where the two regions of `pair` meet."""
    x, y = round(at[0]), round(at[1])
    left, top = max(0, x - reach), max(0, y - reach)
    area = np.s_[top : y + reach + 1, left : x + reach + 1]
    labels, known = regions.labels[area], ~hole[area]
    spots = list[Points]()
    for dy, dx in ((0, 1), (1, 0)):
        a, b = labels[: labels.shape[0] - dy, : labels.shape[1] - dx], labels[dy:, dx:]
        both = known[: known.shape[0] - dy, : known.shape[1] - dx] & known[dy:, dx:]
        meet = ((a == pair[0]) & (b == pair[1])) | ((a == pair[1]) & (b == pair[0]))
        rows, columns = np.nonzero(both & meet)
        spots.append(np.column_stack([columns + dx / 2 + left, rows + dy / 2 + top]).astype(np.float64))
    return np.concatenate(spots)


def _changes(labels: Labels) -> Mask:
    """Where one region follows another along a rim."""
    after = np.roll(labels, -1)
    return (labels != after) & (labels != BORDER) & (after != BORDER)


def _ends(
    points: NDArray[np.intp], labels: Labels, regions: Regions, hole: Mask, params: ContinuationParams
) -> list[_End]:
    ends = list[_End]()
    after = np.roll(labels, -1)
    for i in np.flatnonzero(_changes(labels)):
        at = (points[i] + points[(i + 1) % len(points)]) / 2
        pair = int(labels[i]), int(after[i])
        ends.append(_End(*_outline(regions, hole, at, pair, params), *pair))
    return ends


def _bending(a: _End, b: _End, one_sided: float) -> float:
    """How much a curve from `a` to `b` must bend: its elastic energy times its length, for small angles.

    Where only one of the two regions is the same on both sides (a third one ends behind the object) it costs
    `one_sided` more; infinite where none is.
    """
    same = (a.before == b.after) + (a.after == b.before)
    if not same:
        return np.inf
    chord = b.at - a.at
    angle = np.arctan2(chord[1], chord[0])
    start = _turned(np.arctan2(a.inwards[1], a.inwards[0]) - angle)
    end = _turned(np.arctan2(-b.inwards[1], -b.inwards[0]) - angle)
    return float(4 * (start**2 + start * end + end**2)) + (0.0 if same == 2 else one_sided)


def _turned(angle: float) -> float:
    """The angle in −π … π."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _joined(ends: list[_End], params: ContinuationParams) -> list[tuple[int, int]]:
    """Pairs of ends that curves join without crossing, at the least bending in sum.

    The ends lie in order around the hole, so curves that do not cross are brackets that nest: dynamic programming over
    intervals.
    """
    n = len(ends)
    bending = [
        [_bending(a, b, params.one_sided) if i < k else np.inf for k, b in enumerate(ends)] for i, a in enumerate(ends)
    ]
    price = np.zeros((n + 2, n + 2))
    choice = np.full((n + 2, n + 2), -1)
    for length in range(1, n + 1):
        for i in range(n - length + 1):
            j = i + length  # the interval i … j − 1
            price[i, j], choice[i, j] = price[i + 1, j] + params.alone, -1
            for k in range(i + 1, j):
                total = bending[i][k] + price[i + 1, k] + price[k + 1, j]
                if total < price[i, j]:
                    price[i, j], choice[i, j] = total, k
    pairs, intervals = list[tuple[int, int]](), [(0, n)]
    while intervals:
        i, j = intervals.pop()
        if j - i < 2:
            continue
        k = int(choice[i, j])
        if k < 0:
            intervals.append((i + 1, j))
        else:
            pairs.append((i, k))
            intervals += [(i + 1, k), (k + 1, j)]
    return pairs


def _curve(a: _End, b: _End, *, fewest: int = 8) -> Points:
    """(N, 2) points, at least `fewest`, of the cubic (Hermite's) that leaves `a` and arrives at `b` in their
    directions."""
    length = float(np.hypot(*(b.at - a.at)))
    t = np.linspace(0, 1, max(fewest, int(length / CURVE_STEP)))[:, None]
    leave, arrive = a.inwards * length, -b.inwards * length
    return (
        (2 * t**3 - 3 * t**2 + 1) * a.at
        + (t**3 - 2 * t**2 + t) * leave
        + (3 * t**2 - 2 * t**3) * b.at
        + (t**3 - t**2) * arrive
    )


def _repeated(
    picture: Floats,
    hole: Mask,
    pieces: Regions,
    regions: Regions,
    on_rim: Labels,
    smallest: int,
    params: ContinuationParams,
) -> int:
    """How many more pieces of the rim's colours lie about than the rim has regions: dots, stripes, leaves have many."""
    outside = np.ones(hole.shape, np.uint8)
    contours, _ = cv2.findContours(hole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outside, contours, -1, 0, -1)  # what shows through the hole's own gaps is no repetition
    even = pieces.even & (outside > 0)
    size, means = mean_colours(picture, pieces.labels, even)
    united_size, united_means = mean_colours(picture, regions.labels, even)
    wanted = united_means[on_rim[united_size[on_rim] > 0]]
    far = np.abs(means[size >= smallest][:, None] - wanted[None]).max(-1)
    return int((far <= params.repeated_alike).any(1).sum()) - len(on_rim)


def continue_outlines(
    picture: Floats,
    hole: Mask,
    pieces: Regions,
    regions: Regions,
    *,
    params: ContinuationParams = PARAMS,
    smallest: int = RegionParams.smallest,
) -> list[Points] | None:
    """Curves (N, 2) x y that continue the regions' outlines through the hole; None where the ground is a pattern.

    picture: (h, w, 3) 0…255. pieces: the regions before those alike were united; smallest: pixels of a piece that
    counts as a repetition.
    """
    curves = list[Points]()
    rims = _rim(hole, regions, params)
    changes = sum(int(_changes(labels).sum()) for _, labels in rims)
    on_rim = np.setdiff1d(np.concatenate([labels for _, labels in rims]), [BORDER])
    if changes > params.most_ends:
        return None
    if changes > 1 and _repeated(picture, hole, pieces, regions, on_rim, smallest, params) >= params.most_repeated:
        return None
    for points, labels in rims:
        ends = _ends(points, labels, regions, hole, params)
        pairs = _joined(ends, params)
        curves += [_curve(ends[i], ends[k]) for i, k in pairs]
        alone = set(range(len(ends))) - {i for pair in pairs for i in pair}
        reach = float(np.hypot(*np.ptp(points, axis=0)))
        curves += [_until_hit(ends[i], curves, hole, reach, params.free_run) for i in sorted(alone)]
    return curves


def drawn(curves: list[Points], shape: tuple[int, ...]) -> Mask:
    """(h, w): the pixels on the curves (N, 2) x y."""
    lines = np.zeros(shape, np.uint8)
    points = [np.round(curve * 2**SUBPIXEL_BITS).astype(np.int32) for curve in curves]
    cv2.polylines(lines, points, False, 1, 2, cv2.LINE_8, SUBPIXEL_BITS)
    return lines > 0


def _until_hit(end: _End, curves: list[Points], hole: Mask, reach: float, free_run: float) -> Points:
    """A straight line from `end` until it leaves the hole or meets another curve."""
    walls = drawn(curves, hole.shape)
    steps = np.arange(0, reach, RAY_STEP)
    path = end.at + steps[:, None] * end.inwards
    x, y = np.round(path).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < hole.shape[1]) & (y < hole.shape[0])
    x, y = np.clip(x, 0, hole.shape[1] - 1), np.clip(y, 0, hole.shape[0] - 1)
    stopped = ~inside | ((steps > free_run) & (~hole[y, x] | walls[y, x]))
    return path[: int(np.argmax(stopped)) + 1] if stopped.any() else path
