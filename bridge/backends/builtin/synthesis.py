"""Texture over holes, copied patch by patch from the surroundings."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, distance_to, grow_square
from bridge.pyramid import shrunk_known

Ints = NDArray[np.intp]

REACH = 3
"""Pixels from a patch's centre to its sides."""
PATCH = 2 * REACH + 1
"""Pixels a side of a patch."""
WAVES = 3
"""Cosines per direction that describe a patch."""
JUMPS = (1, 2, 4, 1)
"""How far away the neighbours lie whose source is tried, pass after pass."""


@dataclass(frozen=True)
class SynthesisParams:
    """How patches are searched and averaged. Lengths in pixels of the reduced picture, colours in levels of 255."""

    rounds: int = 4
    """How often, at each size, patches are searched and averaged; at the largest size half as often."""
    passes: int = 3
    """Of one search."""
    narrowing: int = 3
    """By how much each random search's radius is smaller than the one before."""
    fewest_sources: int = 64
    """With fewer patches to copy from, nothing is filled."""
    coarsest: int = 20
    """Pixels on the shorter side of the smallest picture, where the surroundings repeat themselves …"""
    coarsest_unlike: int = 80
    """… and where they do not: coarser patches would invent what the place does not have."""
    repeats: float = 2.5
    """Surroundings whose patches are found again elsewhere this closely are a pattern or flat art."""
    beside: float = 14.0
    """Patches nearer to the hole than this are looked for elsewhere to learn that …"""
    sample: int = 150
    """… and at most so many of them."""
    guess_reach: int = 5
    """How far around a pixel the first guess (Telea's) looks."""
    guess_softness: float = 4.0
    """Sigma of the first guess's blur: patches then bring back the detail."""
    usual: float = 75.0
    """The percentile of the patches' distances that counts as a usual match when they are averaged."""
    trust_falloff: float = 1.3
    """By how much less a pixel of the hole is trusted for each pixel that it lies deeper in …"""
    deepest: float = 40.0
    """… down to this depth."""


PARAMS = SynthesisParams()


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
    hole: Mask
    sources: Mask
    targets: tuple[Ints, Ints]

    @property
    def shape(self) -> tuple[int, int]:
        return self.hole.shape[0], self.hole.shape[1]


def _level(picture: Floats, hole: Mask, others: Mask) -> _Level:
    near = grow_square(hole, REACH)
    whole = np.zeros_like(hole)
    whole[REACH : hole.shape[0] - REACH, REACH : hole.shape[1] - REACH] = True
    rows, columns = np.nonzero(near)
    return _Level(picture, hole, whole & ~grow_square(hole | others, REACH), (rows, columns))


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

    def nearest(self, picture: Floats, best: Ints, params: SynthesisParams) -> tuple[Ints, Floats]:
        """Improve `best` (N source numbers) for the targets' patches in `picture`. → numbers, squared distances."""
        wanted = _described(picture)[self.level.targets]
        distance = self._distance(wanted, best)
        for step in range(params.passes):
            jump = JUMPS[step % len(JUMPS)]
            for dy, dx in ((0, jump), (jump, 0), (0, -jump), (-jump, 0)):
                best, distance = self._try(wanted, best, distance, self._from_neighbour(best, dy, dx))
            radius = max(self.level.shape)
            while radius >= 1:
                best, distance = self._try(wanted, best, distance, self._at_random(best, radius))
                radius //= params.narrowing
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
    said = cv2.copyMakeBorder(level.picture, margin, margin, margin, margin, cv2.BORDER_REPLICATE).reshape(-1, 3)
    said = np.hstack([said, np.ones((len(said), 1), np.float32)])
    total = np.zeros_like(said)
    to = (level.targets[0] + margin) * stride + level.targets[1] + margin
    origin = (source[0] + margin) * stride + source[1] + margin
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            step = dy * stride + dx
            total[to + step] += said[origin + step] * weight[:, None]
    total = total.reshape(height + 2 * margin, stride, -1)[margin:-margin, margin:-margin][level.hole]
    out = level.picture.copy()
    out[level.hole] = total[:, :3] / np.maximum(total[:, 3:], 1e-12)
    return out


def _halved(picture: Floats, hole: Mask, others: Mask) -> tuple[Floats, Mask, Mask]:
    size = ((hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2)
    small, share = shrunk_known(picture, ~(hole | others), size)
    mine = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    return small, (share < 0.5) & mine, (share < 0.5) & ~mine


def _first_guess(picture: Floats, unknown: Mask, params: SynthesisParams) -> Floats:
    """What is near continued into what is unknown (Telea's method), softened."""
    bytes_ = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    guess = cv2.inpaint(bytes_, unknown.astype(np.uint8), params.guess_reach, cv2.INPAINT_TELEA).astype(np.float32)
    return np.where(unknown[..., None], cv2.GaussianBlur(guess, (0, 0), params.guess_softness), picture)


def _unlikeness(level: _Level, rng: np.random.Generator, params: SynthesisParams) -> float:
    """How far, in levels, patches beside the hole are from the most similar one elsewhere (root mean square)."""
    rows, columns = np.nonzero(level.sources)
    patches = _described(level.picture)[level.sources]
    ring = np.flatnonzero(distance_to(level.hole)[level.sources] < params.beside)
    if len(ring) < params.fewest_sources // 4 or len(patches) < params.fewest_sources:
        return 0.0
    ring = rng.choice(ring, min(params.sample, len(ring)), replace=False)
    mine = patches[ring]
    squares = (patches**2).sum(1)
    distance = (mine**2).sum(1)[:, None] + squares[None] - 2 * mine @ patches.T
    # A patch is always like the ones that it overlaps.
    apart = (np.abs(rows[ring][:, None] - rows) > PATCH) | (np.abs(columns[ring][:, None] - columns) > PATCH)
    nearest = np.where(apart, np.maximum(distance, 0), np.inf).min(1)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.sqrt(nearest.mean() / (3 * PATCH**2))) if len(nearest) else 0.0


def _levels(
    picture: Floats, hole: Mask, others: Mask, rng: np.random.Generator, params: SynthesisParams
) -> list[_Level]:
    """Ever smaller pictures, the largest first: down to the size at which patches may decide what is seen."""
    first = _first_guess(picture, hole | others, params)
    levels = [_level(first, hole, others)]
    asked = False
    while min(levels[-1].shape) > 2 * params.coarsest:
        picture, hole, others = _halved(picture, hole, others)
        if not hole.any():
            break
        first = cv2.resize(first, hole.shape[::-1], interpolation=cv2.INTER_AREA)
        level = _level(np.where((hole | others)[..., None], first, picture), hole, others)
        if min(level.shape) <= params.coarsest_unlike and not asked:
            asked = True
            if _unlikeness(level, rng, params) > params.repeats:
                break
        levels.append(level)
    return levels


def synthesise(
    picture: Floats, hole: Mask, others: Mask, *, seed: int, params: SynthesisParams = PARAMS
) -> Copied | None:
    """Fill `hole` in `picture` (H, W, 3) float32 0…255 with patches of what is known, coarse to fine.

    others: unknown pixels that are neither filled nor copied. None where there is too little to copy from.
    Sources: Wexler and others, "Space-Time Completion of Video" (2007); Barnes and others, "PatchMatch" (2009).
    """
    rng = np.random.default_rng(seed)
    found: tuple[Ints, Ints] | None = None  # where each pixel of the size before came from
    current = picture
    levels = _levels(picture, hole, others, rng, params)
    for depth, level in reversed(list(enumerate(levels))):
        if level.sources.sum() < params.fewest_sources:
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
        trust = _trust(level.hole, params)[level.targets]
        for _ in range(params.rounds if depth else params.rounds // 2):
            best, distance = search.nearest(current, best, params)
            scale = max(float(np.percentile(distance, params.usual)), 1.0)
            weight = (np.exp(-distance / (2 * scale)) * trust).astype(np.float32) + np.float32(1e-9)
            current = _voted(level, search.places(best), weight)
        y, x = np.indices(level.shape)
        y[level.targets], x[level.targets] = search.places(best)
        found = y, x
    if found is None:
        return None
    y, x = np.indices(hole.shape)
    return Copied(current, np.where(hole, found[0], y), np.where(hole, found[1], x))


def _trust(hole: Mask, params: SynthesisParams) -> Floats:
    """(H, W): what lies near the known is known better. 1 at the rim and falling inwards."""
    depth = np.minimum(distance_to(~hole), params.deepest)
    return (params.trust_falloff**-depth).astype(np.float32)
