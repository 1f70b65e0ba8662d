"""Which pixels around a line of text are its strokes: colours that its ground lacks, proved by reading them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from bridge.backends.builtin.matting import grow, shrink
from bridge.backends.builtin.shadow import Shadow, find_shadow
from bridge.pyramid import spread
from bridge.reading import Quad, score_reading, straighten

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

BINS = 16  # colours are counted in BINS³ cells
READS_WELL = 0.85
READS_AT_ONCE = 0.92  # no other answer is tried
STILL_READS = 0.4
MOST_INKS = 6
ROUNDS = 6  # of fitting a surface and trusting less what lies off it


@dataclass(frozen=True)
class Strokes:
    """A line's strokes.

    body: (h, w) bool; ink: (h, w, 3) float32 0…255, their colours.
    halo: (h, w) bool, strokes with their shadow or glow, if they have one on an even ground; shadow: what they cast on
    any other. clean: whether the ground is even, by and large.
    reads: how well they read, 0…1; worth: the same, less what speaks against them.
    """

    body: Mask
    ink: Floats
    halo: Mask | None
    reads: float
    worth: float
    shadow: Shadow | None = None
    clean: bool = False


def find_strokes(
    crop: Floats, inside: Mask, reach: Mask, taken: Mask, height: float, quad: Quad, text: str
) -> Strokes | None:
    """The strokes of one line in `crop` (h, w, 3) float32 0…255, or None.

    inside: where the line's bodies are; reach: how far they may reach; taken: what belongs to other lines; height: of
    the line in pixels; quad: its box, with which it is read again.

    Several answers are tried, the likeliest first, and the first whose bare strokes read as `text` is taken: a title
    across a sun, a white caption over a white petal and print on leaves each fool one way of looking, rarely all.
    """
    if inside.sum() < 30:
        return None
    zone = _Zone(crop, inside, reach, taken, height, quad, text)
    smooth = _smooth_ground(crop, reach, taken, height)
    best: Strokes | None = None
    inks = _likely_inks(crop, inside, zone.ring)
    if smooth is not None:
        inks += _likely_inks(crop, inside & ~smooth.plain, smooth.plain, most=1)
    for seed in inks:
        body, ink = _peel(zone, seed)
        if smooth is not None and (body & smooth.plain).sum() > 0.3 * body.sum():
            continue  # the gaps between the letters, which read as well as the letters
        strokes = _judged(zone, body, ink)
        more = _with_other_inks(zone, strokes)
        if more is not strokes and more.reads > strokes.reads - 0.05:
            # letters that read by themselves are worth more than such that read only with others' help
            helped = 0.0 if strokes.worth >= READS_WELL else 0.1
            strokes = replace(more, worth=max(more.worth, strokes.worth) - helped)
        if best is None or strokes.worth > best.worth:
            best = strokes
        if best.worth >= READS_AT_ONCE:
            break
    if smooth is not None and smooth.near:
        best = _by_contrast(zone, smooth, best)
    if best is None or best.worth < STILL_READS:
        return None
    if smooth is not None and smooth.near:
        return replace(best, clean=True)
    return replace(best, clean=smooth is not None, shadow=find_shadow(crop, best.body, taken, height))


@dataclass(frozen=True)
class _Zone:
    """A line and where to look: the arguments of find_strokes."""

    crop: Floats
    inside: Mask
    reach: Mask
    taken: Mask
    height: float
    quad: Quad
    text: str

    @cached_property
    def heart(self) -> Mask:
        """The box without its rim."""
        size = max(1, round(0.24 * self.height)) | 1
        return cv2.erode(self.inside.astype(np.uint8), np.ones((size, size), np.uint8)) > 0

    @cached_property
    def ring(self) -> Mask:
        """The ground around the line."""
        ring = ~self.reach & ~self.taken
        return ring if ring.sum() > 50 else ~self.inside & ~self.taken


def _judged(zone: _Zone, body: Mask, ink: Floats) -> Strokes:
    """Strokes with what they are worth: how well they read, less what of their outline has no edge in the picture.

    The gaps between letters read as well as the letters, but where they end at the box nothing ends in the picture.
    """
    if not _fills_like_type(body, zone.inside, zone.height):
        return Strokes(body, ink, None, 0.0, 0.0)
    reads = score_reading(_as_print(body, zone.quad), zone.text)
    return Strokes(body, ink, None, reads, reads - 1.5 * max(0.0, _edgeless(zone.crop, body) - 0.1))


def _edgeless(crop: Floats, body: Mask) -> float:
    """The share of the outline of `body` where the picture has hardly an edge."""
    inner = body & ~shrink(body, 1)
    if not inner.any():
        return 1.0
    steep = cv2.morphologyEx(crop, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(-1)[inner]
    return float((steep < 0.3 * np.percentile(steep, 75)).mean())


@dataclass(frozen=True)
class _Smooth:
    """A smooth ground.

    ground: (h, w, 3), its colours; noise: its grain in levels; plain: (h, w), where the picture is no more than ground;
    near: whether that holds all around the line, not only by and large.
    """

    ground: Floats
    noise: float
    plain: Mask
    near: bool


def _smooth_ground(crop: Floats, reach: Mask, taken: Mask, height: float) -> _Smooth | None:
    """The ground as a smooth surface through its surroundings, if it is one."""
    free = ~reach & ~taken
    y, x = np.nonzero(free)
    if len(x) < 60:
        return None
    step = max(1, len(x) // 1500)
    y, x = y[::step], x[::step]
    h, w = crop.shape[:2]
    fit, miss = _robust_fit(_cubic(x / w, y / h), crop[y, x])
    noise = float(np.percentile(miss, 75))
    if noise > 6:
        return None
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    surface = (_cubic((columns / w).ravel(), (rows / h).ravel()) @ fit).reshape(crop.shape).astype(np.float32)
    rest = crop - surface
    fits = np.abs(rest).max(-1) < max(8.0, 3 * noise)
    ground = surface + spread(rest, free & fits)
    plain = np.abs(crop - ground).max(-1) < max(6.0, 2 * noise)
    collar = grow(reach, max(2, round(0.25 * height))) & free
    return _Smooth(ground, noise, plain, bool(collar.any() and fits[collar].mean() > 0.96))


def _cubic(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1).astype(np.float64)


def _robust_fit(design: NDArray[np.float64], colours: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares in which what is off the surface counts less and less, and each sample's miss."""
    fit, miss = np.zeros((design.shape[1], colours.shape[1])), np.abs(colours - np.median(colours, axis=0)).max(-1)
    slack = 1e-6 * np.eye(design.shape[1])
    for _ in range(ROUNDS):
        # starting from the commonest colour, so that a shape beside the line does not bend the first surface to itself
        weights = 1 / np.maximum(1.0, miss / max(3.0, float(np.median(miss)))) ** 2
        weighted = design.T * weights
        fit = np.linalg.solve(weighted @ design + slack, weighted @ colours)
        miss = np.abs(colours - design @ fit).max(-1)
    return np.asarray(fit, np.float64), np.asarray(miss, np.float64)


def _by_contrast(zone: _Zone, smooth: _Smooth, hard: Strokes | None) -> Strokes | None:
    """On an even ground all that differs from it is lettering: whatever its colours, with outline, shadow and glow."""
    differs = np.abs(zone.crop - smooth.ground).max(-1)
    halo = _within(differs > max(2.5, 2 * smooth.noise), zone)
    least = 0.35 * float(np.percentile(differs[zone.inside], 98))
    whole = _within(differs > max(24.0, 4 * smooth.noise, least), zone) & halo
    if not whole.any():
        return hard
    if hard is None or hard.worth < READS_WELL or (whole & ~grow(hard.body, 2)).sum() > 0.25 * hard.body.sum():
        deep = shrink(whole, 1)
        other = _judged(zone, whole, spread(zone.crop, deep if deep.any() else whole))
        if hard is None or other.worth > hard.worth + 0.05:
            hard = other
    beyond = halo & ~grow(hard.body, 2)
    if beyond.sum() < 0.1 * hard.body.sum() or not _fades(halo, zone):
        return hard
    return replace(hard, halo=halo | hard.body)


def _fades(halo: Mask, zone: _Zone) -> bool:
    """Whether a shadow or glow is over before the strokes' reach ends; if not, the ground was foretold wrong."""
    end = zone.reach & ~shrink(zone.reach, max(1, round(0.1 * zone.height))) & ~zone.taken
    border = np.ones_like(end)
    border[2:-2, 2:-2] = False  # where the picture ends, too
    return bool((halo & end).sum() < 0.02 * max(1, end.sum()) and (halo & border).sum() < 0.02 * border.sum())


def _likely_inks(crop: Floats, inside: Mask, ring: Mask, *, most: int = 3) -> list[Floats]:
    """Colours that are common `inside` and rare in the `ring`, the likeliest first."""
    if not inside.any():
        return []
    here, around = _histogram(crop[inside]), _histogram(crop[ring])
    surplus = (here - around) * (1 - np.minimum(around / np.maximum(here, 1e-6), 1)) ** 2
    inks: list[Floats] = []
    colours = crop[inside]
    for _ in range(most):
        cell = np.unravel_index(int(surplus.argmax()), surplus.shape)
        if surplus[cell] <= 0.01:
            break
        centre = (np.array(cell, np.float32) + 0.5) * np.float32(256 / BINS)
        close = np.abs(colours - centre).max(-1) < 1.25 * 256 / BINS
        inks.append(np.asarray(np.median(colours[close], axis=0) if close.any() else centre, np.float32))
        surplus[tuple(slice(max(0, c - 3), c + 4) for c in cell)] = 0
    return inks


def _histogram(colours: Floats) -> Floats:
    cells = np.clip(colours * (BINS / 256), 0, BINS - 1).astype(np.int64)
    flat = (cells[:, 0] * BINS + cells[:, 1]) * BINS + cells[:, 2]
    counts = np.bincount(flat, minlength=BINS**3).reshape(BINS, BINS, BINS) / max(1, len(colours))
    return np.asarray(uniform_filter(counts.astype(np.float32), 3, mode="constant") * 27, np.float32)


def _peel(zone: _Zone, seed: Floats, *, rounds: int = 3) -> tuple[Mask, Floats]:
    """Strokes of one ink, even or a straight gradient, that starts as `seed`: ink and ground found in turn."""
    crop = zone.crop
    ink = np.broadcast_to(seed, crop.shape).astype(np.float32)
    body = (np.abs(crop - ink).max(-1) < 40) & zone.inside
    for _ in range(rounds):
        if body.sum() < 12:
            break
        ground = spread(crop, ~grow(body, 2) & ~zone.taken)
        axis = ink - ground
        length = np.maximum((axis * axis).sum(-1), 1.0)
        share = ((crop - ground) * axis).sum(-1) / length
        off = np.linalg.norm(crop - ground - np.clip(share, 0, 1.15)[..., None] * axis, axis=-1)
        contrast = np.sqrt(length)
        like = (share > 0.5) & (off < np.maximum(0.3 * contrast, 14)) & (contrast > 20) & ~zone.taken
        body = _within(like, zone)
        if body.sum() < 12:
            break
        pure = body & (share >= np.percentile(share[body], 40))
        ink = _straight_gradient(crop, pure)
    return body, ink


def _straight_gradient(crop: Floats, pure: Mask) -> Floats:
    """Colours fitted to `pure` pixels: even, or linear in x and y where that explains them much better."""
    y, x = np.nonzero(pure)
    colours = crop[pure]
    even = np.median(colours, axis=0)
    spread_even = np.abs(colours - even).max(-1)
    out = np.broadcast_to(even, crop.shape).astype(np.float32)
    if len(x) < 60 or np.percentile(spread_even, 80) < 8:
        return out
    height, width = crop.shape[:2]
    fit, miss = _robust_fit(np.stack([np.ones(len(x)), x / width, y / height], 1), colours)
    if np.median(miss) > 0.6 * np.median(spread_even):
        return out
    rows, columns = np.mgrid[:height, :width]
    plane = fit[0] + (columns / width)[..., None] * fit[1] + (rows / height)[..., None] * fit[2]
    return np.clip(plane, 0, 255).astype(np.float32)


def _with_other_inks(zone: _Zone, strokes: Strokes) -> Strokes:
    """The strokes with those of further colours: an outline or, while they don't read, more letters."""
    crop, body, ink = zone.crop, strokes.body, strokes.ink
    rare = _histogram(crop[zone.ring])
    complete = strokes.worth >= READS_WELL
    one_colour = bool(body.any()) and _is_even(crop, body)
    first = int(body.sum())
    for _ in range(MOST_INKS - 1):
        rest = zone.inside & ~grow(body, 1)
        if not body.any() or rest.sum() < 30:
            break
        surplus = _histogram(crop[rest]) - 2 * rare
        cell = np.unravel_index(int(surplus.argmax()), surplus.shape)
        if surplus[cell] < 0.04:
            break
        centre = (np.array(cell, np.float32) + 0.5) * np.float32(256 / BINS)
        alike = np.abs(crop - centre).max(-1) < 1.5 * 256 / BINS
        more = _within(alike & ~body, zone)
        if more.sum() < 0.08 * first or not _is_even(crop, more):
            break
        if _runs_around(more, body, zone.height):
            more = _to_its_width(alike & ~body & zone.reach, more, body)
        elif complete or not one_colour or not _are_letters(more, body):
            break
        body = _within(body | _closed(more, body), zone)
        ink = np.where(more[..., None], crop, ink)
    return strokes if body is strokes.body else _judged(zone, body, ink)


def _closed(more: Mask, body: Mask) -> Mask:
    """`more` with the mixed pixels between it and `body`."""
    return more | (grow(more, 1) & grow(body, 1))


def _is_even(crop: Floats, more: Mask, *, grain: float = 6.0) -> bool:
    """Whether `more` is of one colour, as type is and a band of a soft shadow or a piece of a photograph is not."""
    deep = shrink(more, 1)
    colours = crop[deep if deep.sum() > 20 else more]
    return float(np.percentile(np.abs(colours - np.median(colours, axis=0)).max(-1), 80)) < grain


def _runs_around(more: Mask, body: Mask, height: float) -> bool:
    """Whether `more` is an outline: it lies along most of the rim of `body`, and hardly anywhere else."""
    rim = grow(body, 2) & ~body
    close = grow(body, max(2, round(0.15 * height)))
    return bool((rim & grow(more, 1)).sum() > 0.6 * rim.sum() and (more & close).sum() > 0.8 * more.sum())


def _to_its_width(alike: Mask, outline: Mask, body: Mask) -> Mask:
    """The outline also where it runs into a shape of its own colour: as wide as it is elsewhere."""
    away = cv2.distanceTransform((~body).astype(np.uint8), cv2.DIST_L2, 3)
    return alike & (away <= np.percentile(away[outline], 90))


def _are_letters(more: Mask, body: Mask) -> bool:
    """Whether `more` is made of parts as tall as the letters in `body`."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(more.astype(np.uint8))
    _, _, letters, _ = cv2.connectedComponentsWithStats(body.astype(np.uint8))
    tall = letters[1:, cv2.CC_STAT_HEIGHT].max(initial=0)
    alike = boxes[1:, cv2.CC_STAT_HEIGHT] > 0.7 * tall
    return bool(boxes[1:, cv2.CC_STAT_AREA][alike].sum() > 0.7 * more.sum())


def _within(mask: Mask, zone: _Zone, *, outside: float = 0.1) -> Mask:
    """The connected parts of `mask` that are the line's: what goes on beyond its reach is a shape behind it."""
    inside, reach = zone.inside, zone.reach
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    count = len(stats)
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    beyond = np.bincount(labels[~reach], minlength=count)
    within = np.bincount(labels[inside], minlength=count)
    keep = (beyond <= outside * area) & (within > 0.5 * area)
    # at the box's very edge lie accents and commas, which are short; what is long there is the rim of some shape
    heart = np.bincount(labels[zone.heart], minlength=count)
    long_ = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) > 0.6 * zone.height
    keep &= (heart > 0.4 * area) | ~long_
    keep[0] = False
    return keep[np.asarray(labels, np.intp)] & reach


def _fills_like_type(body: Mask, inside: Mask, height: float) -> bool:
    """Whether the strokes fill their box as type does: neither crumbs nor a plate, and hardly at the box's rim."""
    share = body.sum() / max(1, inside.sum())
    rim = inside & ~shrink(inside, max(1, round(0.1 * height)))
    return bool(0.03 < share < 0.75 and (not rim.any() or body[rim].mean() < 0.6 * share))


def _as_print(body: Mask, quad: Quad) -> NDArray[np.uint8]:
    """The bare strokes in black on white, upright, as the reader likes them."""
    ink = straighten(cv2.GaussianBlur(body.astype(np.float32), (0, 0), 0.6), quad, 48)
    return np.repeat(np.rint(255 * (1 - ink.clip(0, 1)))[..., None], 3, axis=-1).astype(np.uint8)
