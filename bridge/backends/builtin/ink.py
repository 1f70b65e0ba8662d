"""Which pixels around a line of text are its strokes: by colours that the ground beside it lacks, proved by reading them again."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from bridge.backends.builtin.matting import grow, shrink
from bridge.backends.builtin.ocr import Quad, score_reading, straighten
from bridge.backends.builtin.spread import spread

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

BINS = 16  # colours are counted in BINS³ cells
READS_WELL = 0.85
STILL_READS = 0.4
MOST_INKS = 6


@dataclass(frozen=True)
class Strokes:
    """body: (h, w) bool, the strokes; ink: (h, w, 3) float32 their colours; halo: (h, w) bool, strokes with shadow or glow, if any."""

    body: Mask
    ink: Floats
    halo: Mask | None
    reads: float


def find_strokes(
    crop: Floats, inside: Mask, reach: Mask, taken: Mask, height: float, quad: Quad, text: str
) -> Strokes | None:
    """The strokes of one line in `crop` (h, w, 3) float32 0…255, or None.

    inside: where the line's bodies are; reach: how far they may reach; taken: what belongs to other lines; height: of the line
    in pixels; quad: its box, with which it is read again.

    Several answers are tried, the likeliest first, and the first whose bare strokes read as `text` is taken: a title across a
    sun, a white caption over a white petal and print on leaves each fool one way of looking, rarely all.
    """
    if inside.sum() < 30:
        return None
    best: Strokes | None = None
    ring = ~reach & ~taken if (~reach & ~taken).sum() > 50 else ~inside & ~taken
    smooth = _smooth_ground(crop, reach, taken)
    plain = np.abs(crop - smooth[0]).max(-1) < max(6.0, 2 * smooth[1]) if smooth else np.zeros(inside.shape, bool)
    for seed in _likely_inks(crop, inside, ring):
        body, ink = _peel(crop, seed, inside, reach, taken, height)
        if (body & plain).sum() > 0.3 * body.sum():
            continue  # the gaps between the letters, which read as well as the letters
        reads = score_reading(_as_print(body, quad), text) if _fills_like_type(body, inside, height) else 0.0
        letters, letter_ink = _with_other_inks(
            crop, body, ink, inside, reach, ring, height, complete=reads >= READS_WELL
        )
        if letters is not body and _fills_like_type(letters, inside, height):
            reads_with = score_reading(_as_print(letters, quad), text)
            if reads_with > reads - 0.05:
                body, ink, reads = letters, letter_ink, reads_with
        if not reads:
            continue
        if best is None or reads > best.reads + 0.05:
            best = Strokes(body, ink, None, reads)
        if reads >= READS_WELL:
            break
    if smooth is not None:
        ground, noise = smooth
        best = _by_contrast(crop, ground, noise, best, inside, reach, taken, quad, text)
    return best if best is not None and best.reads >= STILL_READS else None


def _smooth_ground(crop: Floats, reach: Mask, taken: Mask) -> tuple[Floats, float] | None:
    """The ground as a smooth surface through its surroundings, and its noise there, if it is one."""
    free = ~reach & ~taken
    y, x = np.nonzero(free)
    if len(x) < 60:
        return None
    step = max(1, len(x) // 4000)
    y, x = y[::step], x[::step]
    height, width = crop.shape[:2]
    fit, miss = _robust_fit(_cubic(x / width, y / height), crop[y, x])
    noise = float(np.percentile(miss, 75))
    if noise > 6:
        return None
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    surface = (_cubic((columns / width).ravel(), (rows / height).ravel()) @ fit).reshape(crop.shape).astype(np.float32)
    rest = crop - surface
    near = free & (np.abs(rest).max(-1) < max(8.0, 3 * noise))
    return surface + spread(rest, near), noise


def _cubic(x: Floats, y: Floats) -> Floats:
    return np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1).astype(np.float32)


def _robust_fit(design: Floats, colours: Floats) -> tuple[Floats, Floats]:
    """Least squares in which what is off the surface counts less and less, and each sample's miss."""
    weights = np.ones((len(design), 1), np.float32)
    fit = np.zeros((design.shape[1], colours.shape[1]), np.float32)
    miss = np.zeros(len(design), np.float32)
    for _ in range(5):
        fit = np.linalg.lstsq(design * weights, colours * weights, rcond=None)[0].astype(np.float32)
        miss = np.abs(colours - design @ fit).max(-1)
        weights = 1 / np.maximum(1.0, miss / 3)[:, None]
    return fit, miss


def _by_contrast(
    crop: Floats,
    ground: Floats,
    noise: float,
    hard: Strokes | None,
    inside: Mask,
    reach: Mask,
    taken: Mask,
    quad: Quad,
    text: str,
) -> Strokes | None:
    """On an even ground everything that differs from it is lettering: whatever its colours, with outline, shadow and glow."""
    differs = np.abs(crop - ground).max(-1)
    halo = _within(differs > max(4.0, 2 * noise), inside, reach)
    strong = differs > max(24.0, 4 * noise, 0.35 * float(np.percentile(differs[inside], 98)))
    whole = _within(strong, inside, reach) & halo
    if not whole.any():
        return hard
    if hard is None or hard.reads < READS_WELL or (whole & ~grow(hard.body, 2)).sum() > 0.25 * hard.body.sum():
        reads = score_reading(_as_print(whole, quad), text)
        if hard is None or reads > hard.reads + 0.05:
            hard = Strokes(whole, spread(crop, shrink(whole, 1) if shrink(whole, 1).any() else whole), None, reads)
    beyond = halo & ~grow(hard.body, 2)
    if beyond.sum() < 0.1 * hard.body.sum():
        return hard
    return Strokes(hard.body, hard.ink, halo | hard.body, hard.reads)


def _likely_inks(crop: Floats, inside: Mask, ring: Mask, *, most: int = 3) -> list[Floats]:
    """Colours that are common inside the line's box and rare around it, the likeliest first."""
    surplus = _histogram(crop[inside]) - _histogram(crop[ring])
    inks: list[Floats] = []
    colours = crop[inside]
    for _ in range(most):
        cell = np.unravel_index(int(surplus.argmax()), surplus.shape)
        if surplus[cell] <= 0:
            break
        centre = (np.float32(cell) + 0.5) * (256 / BINS)
        close = np.abs(colours - centre).max(-1) < 1.25 * 256 / BINS
        inks.append(np.median(colours[close], axis=0).astype(np.float32) if close.any() else centre)
        surplus[tuple(slice(max(0, c - 3), c + 4) for c in cell)] = 0
    return inks


def _histogram(colours: Floats) -> Floats:
    cells = np.clip(colours * (BINS / 256), 0, BINS - 1).astype(np.int64)
    flat = (cells[:, 0] * BINS + cells[:, 1]) * BINS + cells[:, 2]
    counts = np.bincount(flat, minlength=BINS**3).reshape(BINS, BINS, BINS) / max(1, len(colours))
    return uniform_filter(counts.astype(np.float32), 3, mode="constant") * 27


def _peel(
    crop: Floats, seed: Floats, inside: Mask, reach: Mask, taken: Mask, height: float, *, rounds: int = 3
) -> tuple[Mask, Floats]:
    """Strokes of one ink (even, or a straight gradient) that starts as the colour `seed`: ink and ground found in turn."""
    ink = np.broadcast_to(seed, crop.shape).astype(np.float32)
    body = (np.abs(crop - ink).max(-1) < 40) & inside
    for _ in range(rounds):
        if body.sum() < 12:
            break
        ground = spread(crop, ~grow(body, 2) & ~taken)
        axis = ink - ground
        length = np.maximum((axis * axis).sum(-1), 1.0)
        share = ((crop - ground) * axis).sum(-1) / length
        off = np.linalg.norm(crop - ground - np.clip(share, 0, 1.15)[..., None] * axis, axis=-1)
        contrast = np.sqrt(length)
        like = (share > 0.5) & (off < np.maximum(0.3 * contrast, 14)) & (contrast > 20) & ~taken
        body = _within(like, inside, reach)
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
    fit, miss = _robust_fit(np.stack([np.ones(len(x)), x / width, y / height], 1).astype(np.float32), colours)
    if np.median(miss) > 0.6 * np.median(spread_even):
        return out
    rows, columns = np.mgrid[:height, :width]
    plane = fit[0] + (columns / width)[..., None] * fit[1] + (rows / height)[..., None] * fit[2]
    return np.clip(plane, 0, 255).astype(np.float32)


def _with_other_inks(
    crop: Floats, body: Mask, ink: Floats, inside: Mask, reach: Mask, ring: Mask, height: float, *, complete: bool
) -> tuple[Mask, Floats]:
    """The strokes with those of further colours: an outline around the first or, unless `complete`, letters each in its own."""
    found = body
    rare = _histogram(crop[ring]) if ring.any() else np.zeros((BINS,) * 3, np.float32)
    first = int(body.sum())
    for _ in range(MOST_INKS - 1):
        rest = inside & ~grow(body, 1)
        if not body.any() or rest.sum() < 30:
            break
        surplus = _histogram(crop[rest]) - 2 * rare
        cell = np.unravel_index(int(surplus.argmax()), surplus.shape)
        if surplus[cell] < 0.04:
            break
        centre = (np.float32(cell) + 0.5) * (256 / BINS)
        alike = np.abs(crop - centre).max(-1) < 1.5 * 256 / BINS
        more = _within(alike & ~body, inside, reach)
        if more.sum() < 0.08 * first:
            break
        if not _is_even(crop, more):
            break
        if _runs_around(more, body, height):
            more = _to_its_width(alike & ~body & reach, more, body)
        elif complete or not _are_letters(more, body):
            break
        found = body = _within(body | _closed(more, body), inside, reach)
        ink = np.where(more[..., None], crop, ink)
    return found, ink


def _closed(more: Mask, body: Mask) -> Mask:
    """`more` with the mixed pixels between it and `body`."""
    return more | (grow(more, 1) & grow(body, 1))


def _is_even(crop: Floats, more: Mask) -> bool:
    deep = shrink(more, 1)
    colours = crop[deep if deep.sum() > 20 else more]
    return float(np.percentile(np.abs(colours - np.median(colours, axis=0)).max(-1), 80)) < 14


def _runs_around(more: Mask, body: Mask, height: float) -> bool:
    """Whether `more` is an outline: it lies along most of the rim of `body`, and hardly anywhere else."""
    rim = grow(body, 2) & ~body
    close = grow(body, max(2, round(0.15 * height)))
    return bool((rim & grow(more, 1)).sum() > 0.6 * rim.sum() and (more & close).sum() > 0.8 * more.sum())


def _to_its_width(alike: Mask, outline: Mask, body: Mask) -> Mask:
    """The outline also where it runs into a shape of its own colour: as far from the letters as it is wide elsewhere."""
    away = cv2.distanceTransform((~body).astype(np.uint8), cv2.DIST_L2, 3)
    return alike & (away <= np.percentile(away[outline], 90))


def _are_letters(more: Mask, body: Mask) -> bool:
    """Whether `more` is made of parts as tall as the letters in `body`."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(more.astype(np.uint8))
    _, _, letters, _ = cv2.connectedComponentsWithStats(body.astype(np.uint8))
    tall = letters[1:, cv2.CC_STAT_HEIGHT].max(initial=0)
    alike = boxes[1:, cv2.CC_STAT_HEIGHT] > 0.7 * tall
    return bool(boxes[1:, cv2.CC_STAT_AREA][alike].sum() > 0.7 * more.sum())


def _within(mask: Mask, inside: Mask, reach: Mask, *, outside: float = 0.1) -> Mask:
    """The connected parts of `mask` that are the line's: what goes on beyond its reach is a shape behind or beside it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    count = len(stats)
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    beyond = np.bincount(labels[~reach], minlength=count)
    within = np.bincount(labels[inside], minlength=count)
    keep = (beyond <= outside * area) & (within > 0.5 * area)
    keep[0] = False
    return keep[labels] & reach


def _fills_like_type(body: Mask, inside: Mask, height: float) -> bool:
    """Whether the strokes fill their box as type does: neither crumbs nor a plate, and hardly at the box's rim."""
    share = body.sum() / max(1, inside.sum())
    rim = inside & ~shrink(inside, max(1, round(0.1 * height)))
    return bool(0.03 < share < 0.75 and (not rim.any() or body[rim].mean() < 0.6 * share))


def _as_print(body: Mask, quad: Quad) -> NDArray[np.uint8]:
    """The bare strokes in black on white, upright, as the reader likes them."""
    ink = straighten(cv2.GaussianBlur(body.astype(np.float32), (0, 0), 0.6), quad, 48)
    return np.repeat(np.rint(255 * (1 - ink.clip(0, 1)))[..., None], 3, axis=-1).astype(np.uint8)
