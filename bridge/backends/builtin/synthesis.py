"""Texture over holes, copied patch by patch from the surroundings."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.pyramid import shrunk_known

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

REACH = 3  # a patch is (2·REACH + 1)² pixels
PATCH = 2 * REACH + 1
WAVES = 3  # cosines per direction that describe a patch
FEWEST_SOURCES = 64
COARSEST = 20  # pixels of the shorter side, where the surroundings repeat themselves …
COARSEST_UNLIKE = 80  # … and where they do not: coarser patches would invent what the place does not have
REPEATS = 2.5  # levels; surroundings whose patches are found again elsewhere this closely are a pattern or flat art


@dataclass(frozen=True)
class Copied:
    """picture: (H, W, 3) float32 with the hole filled; rows, columns: (H, W), where each pixel came from."""

    picture: Floats
    rows: Ints
    columns: Ints


@dataclass
class _Level:
    """One size of the picture: what is known, which patches may be copied, which are to be found."""

    picture: Floats
    hole: Bools
    sources: Bools
    targets: tuple[Ints, Ints]

    @property
    def shape(self) -> tuple[int, int]:
        return self.hole.shape[0], self.hole.shape[1]


def _grown(mask: Bools, reach: int) -> Bools:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0


def _level(picture: Floats, hole: Bools, others: Bools) -> _Level:
    near = _grown(hole, REACH)
    whole = np.zeros_like(hole)
    whole[REACH : hole.shape[0] - REACH, REACH : hole.shape[1] - REACH] = True
    rows, columns = np.nonzero(near)
    return _Level(picture, hole, whole & ~_grown(hole | others, REACH), (rows, columns))


def _described(picture: Floats) -> Floats:
    """(h, w, D): the lowest cosine coefficients of each pixel's patch; their distance is close to the patches' own.

    Beyond the border the border pixel is repeated.
    """
    steps = np.arange(PATCH) + 0.5
    waves = [np.cos(np.pi * k * steps / PATCH).astype(np.float32) for k in range(WAVES)]
    waves = [wave / np.linalg.norm(wave) for wave in waves]
    described = [
        cv2.sepFilter2D(picture, cv2.CV_32F, waves[u], waves[v], borderType=cv2.BORDER_REPLICATE)
        for u in range(WAVES)
        for v in range(WAVES - u)
    ]
    return np.asarray(np.dstack(described), np.float32)


class _Search:
    """PatchMatch (Barnes and others, 2009) for all targets at once, on described patches."""

    def __init__(self, level: _Level, rng: np.random.Generator) -> None:
        self.level, self.rng = level, rng
        self.source_rows, self.source_columns = np.nonzero(level.sources)
        self.known = _described(level.picture)[level.sources]
        self.index = np.full(level.shape, -1, np.intp)
        self.index[self.source_rows, self.source_columns] = np.arange(len(self.source_rows))
        self.number = np.full(level.shape, -1, np.intp)
        self.number[level.targets] = np.arange(len(level.targets[0]))

    def nearest(self, picture: Floats, best: Ints, passes: int) -> tuple[Ints, Floats]:
        """Improve `best` (N source numbers) for the targets' patches in `picture`. → numbers, squared distances."""
        wanted = _described(picture)[self.level.targets]
        distance = self._distance(wanted, best)
        jumps = (1, 2, 4, 1)
        for step in range(passes):
            jump = jumps[step % len(jumps)]
            for dy, dx in ((0, jump), (jump, 0), (0, -jump), (-jump, 0)):
                best, distance = self._try(wanted, best, distance, self._from_neighbour(best, dy, dx))
            radius = max(self.level.shape)
            while radius >= 1:
                best, distance = self._try(wanted, best, distance, self._at_random(best, radius))
                radius //= 3
        return best, distance

    def places(self, numbers: Ints) -> tuple[Ints, Ints]:
        """Rows and columns of sources."""
        return self.source_rows[numbers], self.source_columns[numbers]

    def _distance(self, wanted: Floats, best: Ints) -> Floats:
        off = wanted - self.known[best]
        return np.einsum("ij,ij->i", off, off)

    def _try(self, wanted: Floats, best: Ints, distance: Floats, candidate: Ints) -> tuple[Ints, Floats]:
        possible = np.flatnonzero((candidate >= 0) & (candidate != best))
        closer = self._distance(wanted[possible], candidate[possible])
        take = closer < distance[possible]
        best, distance = best.copy(), distance.copy()
        best[possible[take]], distance[possible[take]] = candidate[possible[take]], closer[take]
        return best, distance

    def at(self, rows: Ints, columns: Ints) -> Ints:
        height, width = self.level.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        return np.where(inside, self.index[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], -1)

    def _from_neighbour(self, best: Ints, dy: int, dx: int) -> Ints:
        """What lies beside the neighbour's source, as the target lies beside the neighbour."""
        height, width = self.level.shape
        rows, columns = self.level.targets
        y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
        neighbour = self.number[y, x]
        there = best[np.maximum(neighbour, 0)]
        candidate = self.at(self.source_rows[there] - (y - rows), self.source_columns[there] - (x - columns))
        return np.where(neighbour >= 0, candidate, -1)

    def _at_random(self, best: Ints, radius: int) -> Ints:
        dy, dx = self.rng.integers(-radius, radius + 1, (2, len(best)))
        return self.at(self.source_rows[best] + dy, self.source_columns[best] + dx)


def _voted(level: _Level, source: tuple[Ints, Ints], weight: Floats) -> Floats:
    """The picture with each hole pixel the weighted mean of what all patches over it say."""
    height, width = level.shape
    # Flat indices into pictures with a margin: no patch then needs its pixels checked one by one.
    margin, stride = REACH, width + 2 * REACH
    said = np.ones((height + 2 * margin, stride, 4), np.float32)
    said[..., :3] = cv2.copyMakeBorder(level.picture, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    said = said.reshape(-1, 4)
    total = np.zeros_like(said)
    to = (level.targets[0] + margin) * stride + level.targets[1] + margin
    origin = (source[0] + margin) * stride + source[1] + margin
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            step = dy * stride + dx
            total[to + step] += said[origin + step] * weight[:, None]
    total = total.reshape(height + 2 * margin, stride, 4)[margin:-margin, margin:-margin][level.hole]
    out = level.picture.copy()
    out[level.hole] = total[:, :3] / np.maximum(total[:, 3:], 1e-12)
    return out


def _halved(picture: Floats, hole: Bools, others: Bools) -> tuple[Floats, Bools, Bools]:
    size = ((hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2)
    small, share = shrunk_known(picture, ~(hole | others), size)
    mine = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    return small, (share < 0.5) & mine, (share < 0.5) & ~mine


def _first_guess(picture: Floats, unknown: Bools, softness: float = 4.0) -> Floats:
    """What is near continued into what is unknown (Telea's method), softened: patches then bring back the detail."""
    bytes_ = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    guess = cv2.inpaint(bytes_, unknown.astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.float32)
    return np.where(unknown[..., None], cv2.GaussianBlur(guess, (0, 0), softness), picture)


def _unlikeness(level: _Level, rng: np.random.Generator, near: float = 14.0, sample: int = 150) -> float:
    """How far, in levels, patches beside the hole are from the most similar one elsewhere (root mean square)."""
    rows, columns = np.nonzero(level.sources)
    patches = _described(level.picture)[level.sources]
    beside = cv2.distanceTransform((~level.hole).astype(np.uint8), cv2.DIST_L2, 3)[level.sources] < near
    ring = np.flatnonzero(beside)
    if len(ring) < FEWEST_SOURCES // 4 or len(patches) < FEWEST_SOURCES:
        return 0.0
    ring = rng.choice(ring, min(sample, len(ring)), replace=False)
    mine = patches[ring]
    square = (patches**2).sum(1)
    distance = (mine**2).sum(1)[:, None] + square[None] - 2 * mine @ patches.T
    # A patch is always like the ones that it overlaps.
    apart = (np.abs(rows[ring][:, None] - rows) > PATCH) | (np.abs(columns[ring][:, None] - columns) > PATCH)
    nearest = np.where(apart, np.maximum(distance, 0), np.inf).min(1)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.sqrt(nearest.mean() / (3 * PATCH**2))) if len(nearest) else 0.0


def _pyramid(picture: Floats, hole: Bools, others: Bools, rng: np.random.Generator) -> list[_Level]:
    """Ever smaller pictures, the largest first: down to the size at which patches may decide what is seen."""
    first = _first_guess(picture, hole | others)
    levels = [_level(first, hole, others)]
    asked = False
    while min(levels[-1].shape) > 2 * COARSEST:
        picture, hole, others = _halved(picture, hole, others)
        if not hole.any():
            break
        first = cv2.resize(first, hole.shape[::-1], interpolation=cv2.INTER_AREA)
        level = _level(np.where((hole | others)[..., None], first, picture), hole, others)
        if min(level.shape) <= COARSEST_UNLIKE and not asked:
            asked = True
            if _unlikeness(level, rng) > REPEATS:
                break
        levels.append(level)
    return levels


def synthesise(
    picture: Floats, hole: Bools, others: Bools, *, seed: int, rounds: int = 4, passes: int = 3
) -> Copied | None:
    """Fill `hole` in `picture` (H, W, 3) float32 0…255 with patches of what is known, coarse to fine.

    others: unknown pixels that are neither filled nor copied. rounds: how often, at each size, patches are searched and
    averaged; passes: of one search. None where there is too little to copy from.
    Sources: Wexler and others, "Space-Time Completion of Video" (2007); Barnes and others, "PatchMatch" (2009).
    """
    rng = np.random.default_rng(seed)
    found: tuple[Ints, Ints] | None = None  # where each pixel of the size before came from
    current = picture
    levels = _pyramid(picture, hole, others, rng)
    for depth, level in reversed(list(enumerate(levels))):
        if level.sources.sum() < FEWEST_SOURCES:
            found = None
            continue
        search = _Search(level, rng)
        rows, columns = level.targets
        best = rng.integers(0, len(search.source_rows), len(rows))
        current = level.picture
        if found is not None:
            # The size before decides what is seen; this one begins with its own copy of that.
            above = np.minimum(rows // 2, found[0].shape[0] - 1), np.minimum(columns // 2, found[0].shape[1] - 1)
            again = search.at(2 * found[0][above] + rows % 2, 2 * found[1][above] + columns % 2)
            best = np.where(again >= 0, again, best)
            current = _voted(level, search.places(best), np.ones(len(best), np.float32))
        trust = _trust(level.hole)[level.targets]
        for _ in range(rounds if depth else rounds // 2):
            best, distance = search.nearest(current, best, passes)
            scale = max(float(np.percentile(distance, 75)), 1.0)
            weight = (np.exp(-distance / (2 * scale)) * trust).astype(np.float32) + np.float32(1e-9)
            current = _voted(level, search.places(best), weight)
        y, x = np.indices(level.shape)
        y[level.targets], x[level.targets] = search.places(best)
        found = y, x
    if found is None:
        return None
    y, x = np.indices(hole.shape)
    return Copied(current, np.where(hole, found[0], y), np.where(hole, found[1], x))


def _trust(hole: Bools) -> Floats:
    """(H, W): what lies near the known is known better. 1 at the rim and falling inwards."""
    return (1.3 ** -np.minimum(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3), 40)).astype(np.float32)
