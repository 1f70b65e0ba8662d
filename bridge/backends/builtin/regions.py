"""What a picture's ground is: parts of even colour that run off its edges or recur all over it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bridge.pyramid import push_pull

Mask = NDArray[np.bool_]
Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


CLEAN_STEP, GRAINY_STEP = 4, 5  # levels from pixel to pixel within one part


@dataclass(frozen=True)
class Ground:
    """mask: (h, w) bool, what belongs to the ground; rest: (h, w) bool, what the ground does not explain."""

    mask: Mask
    rest: Mask

    @property
    def share(self) -> float:
        return float(self.mask.mean())


def smooth_parts(image: Rgb, tolerance: int) -> Labels:
    """(h, w) labels of the parts within which every step from pixel to pixel changes no channel by more than
    `tolerance`.

    A gradient is one part, however far its ends lie apart; an outline ends it.
    """
    height, width = image.shape[:2]
    values = image.astype(np.int16)
    numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
    across = np.abs(values[:, 1:] - values[:, :-1]).max(-1) <= tolerance
    down = np.abs(values[1:] - values[:-1]).max(-1) <= tolerance
    one = np.concatenate([numbers[:, :-1][across], numbers[:-1][down]])
    other = np.concatenate([numbers[:, 1:][across], numbers[1:][down]])
    graph = coo_matrix((np.ones(len(one), np.bool_), (one, other)), shape=(height * width, height * width))
    return connected_components(graph, directed=False)[1].reshape(height, width).astype(np.int32)


def find_ground(image: Rgb, salience: Floats) -> Ground:
    """The ground of `image` (h, w, 3) uint8, a few hundred pixels wide; `salience`: (h, w) float32 0…1."""
    calm = np.asarray(cv2.medianBlur(image, 3), np.uint8)
    grain = float(np.percentile(cv2.absdiff(image, calm).max(-1), 75))
    # in a clean drawing a fainter edge still parts things: a white sail before a pale sky
    parts = _Parts.of(image, salience, smooth_parts(calm, CLEAN_STEP if grain <= 1 else GRAINY_STEP))
    ground = _runs_off(parts) | (_recurs(parts) & (parts.salience < 0.75))
    ground |= _same_colour(parts, ground)
    mask = ground[parts.labels]
    mask &= ~_leaked(image, mask, salience)
    return Ground(mask, _unexplained(image, mask))


@dataclass(frozen=True)
class _Parts:
    """Per part: area in pixels, mean salience, mean Lab colour, centre in shares; how many border pixels, and how far
    apart."""

    labels: Labels
    area: NDArray[np.float64]
    salience: NDArray[np.float64]
    colour: NDArray[np.float64]
    centre: NDArray[np.float64]
    border: NDArray[np.float64]
    border_length: int
    spread: NDArray[np.float64]

    @staticmethod
    def of(image: Rgb, salience: Floats, labels: Labels) -> "_Parts":
        height, width = labels.shape
        flat, count = labels.ravel(), int(labels.max()) + 1
        area = np.bincount(flat, minlength=count).astype(np.float64)

        def mean(values: NDArray[np.generic]) -> NDArray[np.float64]:
            return np.bincount(flat, values.ravel().astype(np.float64), count) / area

        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        rows, columns = np.mgrid[:height, :width]
        border, spread, length = _border(labels, count)
        return _Parts(
            labels=labels,
            area=area,
            salience=mean(salience),
            colour=np.stack([mean(lab[..., c]) for c in range(3)], 1),
            centre=np.stack([mean(columns) / width, mean(rows) / height], 1),
            border=border,
            border_length=length,
            spread=spread,
        )


def _border(labels: Labels, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Per part: border pixels; and, in shares of the border, how far apart its two most distant runs lie (0: one
    run)."""
    around = np.concatenate([labels[0], labels[1:, -1], labels[-1, :-1][::-1], labels[1:-1, 0][::-1]])
    pixels = np.bincount(around, minlength=count).astype(np.float64)
    starts = around != np.roll(around, 1)
    spread = np.zeros(count)
    for part in np.flatnonzero(np.bincount(around[starts], minlength=count) >= 2):
        at = np.flatnonzero(around == part)
        gaps = np.sort(np.diff(np.append(at, at[0] + len(around))))
        spread[part] = gaps[-2] / len(around)
    return pixels, spread, len(around)


def _runs_off(parts: _Parts) -> Mask:
    """Parts that leave the picture as a ground does: on two sides, or along much of their outline; not what stands
    out."""
    total = parts.area.sum()
    contact = parts.border / np.sqrt(parts.area)
    leaves = (parts.salience < 0.6) & ((parts.spread > 0.08) | (contact > 1.0))
    dull = (parts.salience < 0.3) & (contact > 0.12) & (parts.area > 0.004 * total)
    frames = (parts.salience < 0.75) & (parts.border > 0.05 * parts.border_length)
    return leaves | dull | frames


def _recurs(parts: _Parts, *, alike: float = 9, least: int = 8, across: float = 0.6) -> Mask:
    """Parts of a pattern: `least` and more of one colour and like size that are strewn over the picture."""
    recurs = np.zeros(len(parts.area), bool)
    left = np.flatnonzero((parts.area >= 6) & (parts.area < 0.06 * parts.area.sum()))
    left = left[np.argsort(-parts.area[left], kind="stable")]
    while len(left) >= least:
        same = np.abs(parts.colour[left] - parts.colour[left[0]]).max(1) < alike
        of_size = left[same & (parts.area[left] > 0.3 * parts.area[left[0]])]
        if len(of_size) >= least and np.ptp(parts.centre[of_size], axis=0).min() > across:
            recurs[left[same]] = True
        left = left[~same]
    return recurs


def _same_colour(parts: _Parts, ground: Mask, *, alike: float = 7) -> Mask:
    """Parts that objects cut off from a ground which shows elsewhere: of one colour with two larger parts of it."""
    same = np.zeros(len(ground), bool)
    known = np.flatnonzero(ground & (parts.area > 20))
    for part in np.flatnonzero(~ground & (parts.area > 10)):
        like = known[np.abs(parts.colour[known] - parts.colour[part]).max(1) < alike]
        needed = 2 if parts.salience[part] < 0.75 else 4
        same[part] = len(like) >= needed and parts.area[like].sum() > 2 * parts.area[part]
    return same


def _leaked(
    image: Rgb, ground: Mask, salience: Floats, *, stands_out: float = 0.8, contrast: float = 25, share: float = 0.75
) -> Mask:
    """Things that a soft shadow joins to the ground step by small step: they stand out, and nearly all around them the
    colours part."""
    values = image.astype(np.float32)
    standing = cv2.morphologyEx((ground & (salience > stands_out)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(standing)
    leaked = np.zeros(ground.shape, bool)
    for number in range(1, count):
        piece = labels == number
        bits = piece.astype(np.uint8)
        edge = (cv2.dilate(bits, np.ones((3, 3))) > 0) & ~piece
        runs_off = piece[0].any() or piece[-1].any() or piece[:, 0].any() or piece[:, -1].any()
        if stats[number, cv2.CC_STAT_AREA] < 0.004 * piece.size or runs_off:
            continue
        inside, within = _mean_near(values, cv2.erode(bits, np.ones((5, 5))) > 0)
        outside, without = _mean_near(values, cv2.dilate(bits, np.ones((7, 7))) == 0)
        edge &= within & without
        if edge.any() and (np.abs(inside - outside).max(-1)[edge] > contrast).mean() > share:
            leaked |= piece
    return leaked


def _mean_near(values: Floats, among: Mask, *, reach: int = 15) -> tuple[Floats, Mask]:
    """The mean of `values` over the pixels of `among` in a window of `reach` pixels, and where there are any."""
    weight = cv2.blur(among.astype(np.float32), (reach, reach))
    mean = cv2.blur(values * among[..., None], (reach, reach)) / np.maximum(weight, 1e-6)[..., None]
    return mean.astype(np.float32), weight > 0.01


def _unexplained(image: Rgb, ground: Mask, *, differs: float = 9, between: float = 6, pinhole: float = 0.0006) -> Mask:
    """What differs from the ground continued beneath it, and is no seam: a colour between those of ground close by."""
    values = image.astype(np.float32)
    sure = cv2.erode(ground.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    distance = np.abs(values - push_pull(values, sure.astype(np.float32))).max(-1)
    near = np.ones((7, 7), np.uint8)
    inner = (cv2.erode(ground.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0)[..., None]
    highest = cv2.dilate(np.where(inner, values, np.float32(-1)), near)
    lowest = cv2.erode(np.where(inner, values, np.float32(999)), near)
    seam = ((values <= highest + between) & (values >= lowest - between)).all(-1)
    rest = (~ground & (distance > differs) & ~seam).astype(np.uint8)
    rest = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return fill_pinholes(rest > 0, pinhole * rest.size)


def fill_pinholes(mask: Mask, largest: float) -> Mask:
    """`mask` with its holes of less than `largest` pixels filled; what reaches the canvas's edge is no hole."""
    height, width = mask.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    left, top, wide, high, area = (stats[:, i] for i in range(5))
    inside = (left > 0) & (top > 0) & (left + wide < width) & (top + high < height)
    fill = (area < largest) & inside
    fill[0] = False
    return mask | fill[labels] if count > 1 else mask
