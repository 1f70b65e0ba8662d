"""Flat art over holes: the outlines of the regions around a hole are continued through it.

Where a hole's surroundings are a few areas of even or slowly changing colour (a sky, two hills, a stripe), the
places where an outline runs into the hole are joined in pairs by smooth curves that bend as little as they can and
never cross.
Source: Masnou and Morel, "Level Lines Based Disocclusion" (1998), for regions instead of grey levels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.pyramid import push_pull

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int32]
Point = NDArray[np.float64]

SMALLEST = 24  # pixels; smaller even areas are specks
BORDER = -1  # beyond the canvas, where any region may end
ONE_SIDED = 3.0  # what joining ends that share one region costs more than the same bend between equal ones


@dataclass(frozen=True)
class Regions:
    """labels: (h, w), the nearest even region's number, from 0; even: which pixels lie inside one; distance: to it."""

    labels: Labels
    even: Bools
    distance: Floats


@dataclass(frozen=True)
class _End:
    """Where an outline runs into the hole: its place, its direction inwards, the regions before and after it."""

    at: Point
    inwards: Point
    before: int
    after: int


def _nearest(labels: Labels) -> tuple[Labels, Floats]:
    """Each pixel's nearest label that is not 0, and how far it is."""
    distance, blob = cv2.distanceTransformWithLabels((labels == 0).astype(np.uint8), cv2.DIST_L2, 5)
    names = np.zeros(int(blob.max()) + 1, np.int32)
    seeds = labels > 0
    names[blob[seeds]] = labels[seeds]
    # One blob of the transform can hold several touching labels: there every pixel is its own nearest.
    return np.where(seeds, labels, names[blob]), distance.astype(np.float32)


def even_regions(picture: Floats, known: Bools, *, evenness: float = 3.0, smallest: int = SMALLEST) -> Regions | None:
    """Areas of slowly changing colour in `picture` (h, w, 3) 0…255; None where there is no such area.

    evenness: the most that colours of one area may differ within 3×3 pixels, raised with the picture's own grain.
    """
    filled = np.clip(np.round(push_pull(picture, known.astype(np.float32))), 0, 255).astype(np.uint8)
    calm = cv2.medianBlur(filled, 5)
    square = np.ones((3, 3), np.uint8)
    span = (cv2.dilate(calm, square).astype(np.int16) - cv2.erode(calm, square)).max(-1)
    grain = float(np.median(span[known])) if known.any() else 255.0
    inside = cv2.erode(known.astype(np.uint8), square, borderValue=1) > 0
    flat = inside & (span <= min(evenness + 1.5 * grain, 5 * evenness))
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(flat.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest
    large[0] = False
    if not large.any():
        return None
    numbers = np.zeros(count, np.int32)
    numbers[large] = np.arange(1, int(large.sum()) + 1)
    labels = numbers[blobs]
    even = labels > 0
    labels, distance = _nearest(labels)
    return Regions(labels - 1, even, distance)


def united(regions: Regions, picture: Floats, hole: Bools, *, alike: float = 4.0, band: int = 14) -> Regions:
    """Regions whose colours beside the hole are alike become one: the same sky on both sides of a tower."""
    near = (cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 3) < band) & regions.even
    counts, means = _mean_colours(picture, regions.labels, near)
    beside = np.flatnonzero(counts)
    means = means[beside]
    to = np.arange(len(counts), dtype=np.int32)
    order = np.argsort(-counts[beside], kind="stable")
    for rank, i in enumerate(order):
        for j in order[:rank]:
            if np.abs(means[i] - means[j]).max() <= alike:
                to[beside[i]] = to[beside[j]]
                break
    return Regions(to[regions.labels], regions.even, regions.distance)


def _rim(hole: Bools, regions: Regions) -> list[tuple[NDArray[np.intp], Labels]]:
    """The pixels just around each piece of the hole, in order, (N, 2) x y, and their regions (or BORDER)."""
    around = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rims = []
    for contour in contours:
        points = contour[:, 0].astype(np.intp)
        labels = np.where(hole[points[:, 1], points[:, 0]], BORDER, regions.labels[points[:, 1], points[:, 0]])
        rims.append((points, _without_specks(labels.astype(np.int32))))
    return rims


def rim_evenness(hole: Bools, regions: Regions, *, near: float = 4.0) -> float:
    """The share of the hole's outer rim that lies within `near` pixels of an even region; 1 where there is no rim."""
    points = np.concatenate([points[labels != BORDER] for points, labels in _rim(hole, regions)])
    return float((regions.distance[points[:, 1], points[:, 0]] <= near).mean()) if len(points) else 1.0


def _without_specks(labels: Labels, shortest: int = 3) -> Labels:
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
    regions: Regions, hole: Bools, at: Point, pair: tuple[int, int], reach: int = 18, most_moved: float = 3.0
) -> tuple[Point, Point]:
    """Where exactly, and in which direction (a unit vector), the outline between two regions enters the hole near `at`.

    A line is fitted to the outline outside. Right beside the hole the regions are only known to a pixel or two: there
    the line knows better, and the end moves onto it by at most `most_moved` pixels.
    """
    spots = _between(regions, hole, at, pair, reach)
    away = spots - at
    far = np.hypot(away[:, 0], away[:, 1])
    clear = (far <= reach) & (far > 2)
    if clear.sum() >= 4:
        away, weight = away[clear], np.exp(-far[clear] / (reach / 2))
        centre = weight @ away / weight.sum()
        values, vectors = np.linalg.eigh(((away - centre) * weight[:, None]).T @ (away - centre))
        line = vectors[:, 1]
        if values[1] > 4 * max(values[0], 1e-9):
            line = -line * np.sign(centre @ line or 1.0)
            moved = centre - (centre @ line) * line
            return at + (moved if np.hypot(*moved) <= most_moved else 0.0), line
    left, top = max(0, round(at[0]) - reach), max(0, round(at[1]) - reach)
    rows, columns = np.nonzero(hole[top : round(at[1]) + reach + 1, left : round(at[0]) + reach + 1])
    inwards = np.array([columns.mean() + left, rows.mean() + top]) - at
    return at, inwards / max(float(np.hypot(*inwards)), 1e-6)


def _between(regions: Regions, hole: Bools, at: Point, pair: tuple[int, int], reach: int) -> NDArray[np.float64]:
    """(N, 2) x y: the places outside the hole, within about `reach` of `at`, where the two regions of `pair` meet."""
    x, y = round(at[0]), round(at[1])
    left, top = max(0, x - reach), max(0, y - reach)
    area = np.s_[top : y + reach + 1, left : x + reach + 1]
    labels, known = regions.labels[area], ~hole[area]
    spots = list[NDArray[np.float64]]()
    for dy, dx in ((0, 1), (1, 0)):
        a, b = labels[: labels.shape[0] - dy, : labels.shape[1] - dx], labels[dy:, dx:]
        both = known[: known.shape[0] - dy, : known.shape[1] - dx] & known[dy:, dx:]
        meet = ((a == pair[0]) & (b == pair[1])) | ((a == pair[1]) & (b == pair[0]))
        rows, columns = np.nonzero(both & meet)
        spots.append(np.column_stack([columns + dx / 2 + left, rows + dy / 2 + top]).astype(np.float64))
    return np.concatenate(spots)


def _changes(labels: Labels) -> Bools:
    """Where one region follows another along a rim."""
    after = np.roll(labels, -1)
    return (labels != after) & (labels != BORDER) & (after != BORDER)


def _ends(points: NDArray[np.intp], labels: Labels, regions: Regions, hole: Bools) -> list[_End]:
    ends = list[_End]()
    after = np.roll(labels, -1)
    for i in np.flatnonzero(_changes(labels)):
        at = (points[i] + points[(i + 1) % len(points)]) / 2
        pair = int(labels[i]), int(after[i])
        ends.append(_End(*_outline(regions, hole, at, pair), *pair))
    return ends


def _bending(a: _End, b: _End) -> float:
    """How much a curve from `a` to `b` must bend: its elastic energy times its length, for small angles.

    Where only one of the two regions is the same on both sides (a third one ends behind the object) it costs more;
    infinite where none is.
    """
    same = (a.before == b.after) + (a.after == b.before)
    if not same:
        return np.inf
    chord = b.at - a.at
    angle = np.arctan2(chord[1], chord[0])
    start = _turned(np.arctan2(a.inwards[1], a.inwards[0]) - angle)
    end = _turned(np.arctan2(-b.inwards[1], -b.inwards[0]) - angle)
    return float(4 * (start**2 + start * end + end**2)) + (0.0 if same == 2 else ONE_SIDED)


def _turned(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def joined(ends: list[_End], *, loose: float = 4.0) -> list[tuple[int, int]]:
    """Pairs of ends that curves join without crossing, at the least bending in sum.

    loose: the price of an end left alone. The ends lie in order around the hole, so curves that do not cross are
    brackets that nest: dynamic programming over intervals.
    """
    n = len(ends)
    bending = [[_bending(a, b) if i < k else np.inf for k, b in enumerate(ends)] for i, a in enumerate(ends)]
    price = np.zeros((n + 2, n + 2))
    choice = np.full((n + 2, n + 2), -1)
    for length in range(1, n + 1):
        for i in range(n - length + 1):
            j = i + length  # the interval i … j − 1
            price[i, j], choice[i, j] = price[i + 1, j] + loose, -1
            for k in range(i + 1, j):
                total = bending[i][k] + price[i + 1, k] + price[k + 1, j]
                if total < price[i, j]:
                    price[i, j], choice[i, j] = total, k
    pairs, intervals = [], [(0, n)]
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


def _curve(a: _End, b: _End) -> NDArray[np.float64]:
    """(N, 2) points of the cubic that leaves `a` and arrives at `b` in their directions."""
    length = float(np.hypot(*(b.at - a.at)))
    t = np.linspace(0, 1, max(8, int(length / 2)))[:, None]
    leave, arrive = a.inwards * length, -b.inwards * length
    return (
        (2 * t**3 - 3 * t**2 + 1) * a.at
        + (t**3 - 2 * t**2 + t) * leave
        + (3 * t**2 - 2 * t**3) * b.at
        + (t**3 - t**2) * arrive
    )


def _repeated(
    picture: Floats, hole: Bools, pieces: Regions, regions: Regions, on_rim: Labels, alike: float = 10.0
) -> int:
    """How many more pieces of the rim's colours lie about than the rim has regions: dots, stripes, leaves have many."""
    outside = np.ones(hole.shape, np.uint8)
    contours, _ = cv2.findContours(hole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outside, contours, -1, 0, -1)  # what shows through the hole's own gaps is no repetition
    even = pieces.even & (outside > 0)
    size, means = _mean_colours(picture, pieces.labels, even)
    united_size, united_means = _mean_colours(picture, regions.labels, even)
    wanted = united_means[on_rim[united_size[on_rim] > 0]]
    far = np.abs(means[size >= SMALLEST][:, None] - wanted[None]).max(-1)
    return int((far <= alike).any(1).sum()) - len(on_rim)


def _mean_colours(picture: Floats, labels: Labels, where: Bools) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Pixels (n) and mean colour (n, 3) of each label within `where`."""
    n = int(labels.max()) + 1
    size = np.bincount(labels[where], minlength=n)
    sums = np.stack([np.bincount(labels[where], picture[..., c][where], n) for c in range(3)], -1)
    return size, sums / np.maximum(size, 1)[:, None]


def outlines(
    picture: Floats, hole: Bools, pieces: Regions, regions: Regions, *, most_ends: int = 24, most_repeated: int = 12
) -> list[NDArray[np.float64]] | None:
    """Curves (N, 2) x y that continue the regions' outlines through the hole; None where the ground is a pattern.

    It is one where more than `most_ends` outlines run into the hole, or where the same colours come again in
    `most_repeated` pieces. pieces: the regions before those alike were united.
    """
    curves = list[NDArray[np.float64]]()
    rims = _rim(hole, regions)
    ends = sum(int(_changes(labels).sum()) for _, labels in rims)
    on_rim = np.setdiff1d(np.concatenate([labels for _, labels in rims]), [BORDER])
    if ends > most_ends or (ends > 1 and _repeated(picture, hole, pieces, regions, on_rim) >= most_repeated):
        return None
    for points, labels in rims:
        ends = _ends(points, labels, regions, hole)
        pairs = joined(ends)
        curves += [_curve(ends[i], ends[k]) for i, k in pairs]
        alone = set(range(len(ends))) - {i for pair in pairs for i in pair}
        reach = float(np.hypot(*np.ptp(points, axis=0)))
        curves += [_until_hit(ends[i], curves, hole, reach) for i in sorted(alone)]
    return curves


def _until_hit(end: _End, curves: list[NDArray[np.float64]], hole: Bools, reach: float) -> NDArray[np.float64]:
    """A straight line from `end` until it leaves the hole or meets another curve."""
    walls = np.zeros(hole.shape, np.uint8)
    cv2.polylines(walls, [np.round(curve * 16).astype(np.int32) for curve in curves], False, 1, 2, cv2.LINE_8, 4)
    steps = np.arange(0, reach, 0.5)
    path = end.at + steps[:, None] * end.inwards
    x, y = np.round(path).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < hole.shape[1]) & (y < hole.shape[0])
    x, y = np.clip(x, 0, hole.shape[1] - 1), np.clip(y, 0, hole.shape[0] - 1)
    stopped = ~inside | ((steps > 4) & (~hole[y, x] | (walls[y, x] > 0)))
    return path[: int(np.argmax(stopped)) + 1] if stopped.any() else path
