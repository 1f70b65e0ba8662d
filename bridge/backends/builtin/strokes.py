"""Which pixels around a line of text are its strokes: colours that its ground lacks, proved by reading them."""

from dataclasses import dataclass, replace

import numpy as np

from bridge.backends.builtin.ink import CELL, commonest, fit_ink, histogram, is_even, likely_inks
from bridge.backends.builtin.masks import Floats, Mask, components, distance_to, grow, shrink
from bridge.backends.builtin.shadow import Shadow, find_shadow
from bridge.backends.builtin.surfaces import SmoothGround, smooth_ground
from bridge.backends.builtin.zone import Zone, judge, within
from bridge.pyramid import spread


@dataclass(frozen=True)
class StrokeParams:
    """Which of several answers is taken."""

    fewest: int = 30
    """Pixels; in a smaller box nothing is looked for."""
    reads_well: float = 0.85
    """From this worth on strokes are complete."""
    reads_at_once: float = 0.92
    """From this worth on no other answer is tried."""
    still_reads: float = 0.4
    """Below this worth there are no strokes."""
    gaps: float = 0.3
    """Strokes of which this share is plain ground are the gaps between the letters."""
    reads_worse: float = 0.05
    """By how much less strokes with further inks may read than those without."""
    helped: float = 0.1
    """What is taken off the worth of letters that read only with others' help."""


@dataclass(frozen=True)
class OtherInkParams:
    """Which further colours belong to the strokes. Lengths in heights of the line; shares 0…1."""

    most: int = 6
    """Inks that a line has at most."""
    fewest: int = 30
    """Pixels; in less of the box none is looked for."""
    rare: float = 0.04
    """The share of the rest of the box that a further colour covers, beyond twice what it covers of the ground."""
    near: float = 1.5
    """Cells from such a colour within which a pixel is of it."""
    least: float = 0.08
    """Of the strokes of the first ink: the fewest pixels that a further one has."""
    outline: float = 0.15
    """How far from the strokes their outline reaches …"""
    outline_rim: float = 0.6
    """… which lies along this share of their rim …"""
    outline_close: float = 0.8
    """… and with this share of itself so close to them."""
    outline_width: float = 90.0
    """The percentile of its pixels' distances from the strokes that is its width."""
    tall: float = 0.7
    """Of the tallest letter's height: how tall a part of further letters is …"""
    tall_share: float = 0.7
    """… and the share of their pixels in such parts."""


@dataclass(frozen=True)
class ContrastParams:
    """What differs from an even ground is lettering. Levels of 255, and multiples of the ground's noise."""

    halo: tuple[float, float] = (2.5, 2.0)
    """What differs by more than this belongs to the strokes, their shadow or their glow …"""
    solid: tuple[float, float] = (24.0, 4.0)
    """… and by more than this to the strokes themselves …"""
    usual: float = 98.0
    """… and by more than a share of this percentile of the box's differences …"""
    solid_share: float = 0.35
    """… which is this."""
    missed: float = 0.25
    """Of the strokes found by colour: where more than this lies outside them, all that differs is tried."""
    better: float = 0.05
    """By how much more that must be worth."""
    least_halo: float = 0.1
    """Of the strokes: where no more than this lies around them there is no shadow or glow."""
    end: float = 0.1
    """Heights of the line: the band where the strokes' reach ends …"""
    fades: float = 0.02
    """… and the share of it, and of the canvas's edge, that a shadow or glow may reach."""
    canvas: int = 2
    """Pixels of the canvas's edge."""


PARAMS = StrokeParams()
OTHER_INKS = OtherInkParams()
CONTRAST = ContrastParams()


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


def find_strokes(zone: Zone, params: StrokeParams = PARAMS) -> Strokes | None:
    """The strokes of one line, or None.

    Several answers are tried, the likeliest first, and the first whose bare strokes read as the line's text is taken: a
    title across a sun, a white caption over a white petal and print on leaves each mislead one way of looking, rarely
    all.
    """
    if zone.inside.sum() < params.fewest:
        return None
    smooth = smooth_ground(zone.crop, zone.reach, zone.taken, zone.height)
    best = _by_colour(zone, smooth, params)
    if smooth is not None and smooth.near:
        best = _by_contrast(zone, smooth, best, params.reads_well)
    if best is None or best.worth < params.still_reads:
        return None
    if smooth is not None and smooth.near:
        return replace(best, clean=True)
    shadow = find_shadow(zone.crop, best.body, zone.taken, zone.height)
    return replace(best, clean=smooth is not None, shadow=shadow)


def _by_colour(zone: Zone, smooth: SmoothGround | None, params: StrokeParams) -> Strokes | None:
    """The best of the strokes that the likely inks give."""
    inks = likely_inks(zone.crop, zone.inside, zone.ring)
    if smooth is not None:
        inks += likely_inks(zone.crop, zone.inside & ~smooth.plain, smooth.plain, most=1)
    best: Strokes | None = None
    for seed in inks:
        body, ink = fit_ink(zone, seed)
        if smooth is not None and (body & smooth.plain).sum() > params.gaps * body.sum():
            continue  # the gaps between the letters, which read as well as the letters
        strokes = _judged(zone, body, ink)
        more = _with_other_inks(zone, strokes, params.reads_well)
        if more is not strokes and more.reads > strokes.reads - params.reads_worse:
            # letters that read by themselves are worth more than such that read only with others' help
            helped = 0.0 if strokes.worth >= params.reads_well else params.helped
            strokes = replace(more, worth=max(more.worth, strokes.worth) - helped)
        if best is None or strokes.worth > best.worth:
            best = strokes
        if best.worth >= params.reads_at_once:
            break
    return best


def _judged(zone: Zone, body: Mask, ink: Floats) -> Strokes:
    """Strokes with what they are worth."""
    reading = judge(zone, body)
    return Strokes(body, ink, None, reading.reads, reading.worth)


def _by_contrast(
    zone: Zone, smooth: SmoothGround, hard: Strokes | None, reads_well: float, params: ContrastParams = CONTRAST
) -> Strokes | None:
    """On an even ground all that differs from it is lettering: whatever its colours, with outline, shadow and glow.

    hard: the strokes found by their colours, if any.
    """
    differs = np.abs(zone.crop - smooth.ground).max(-1)
    halo = within(zone, differs > max(params.halo[0], params.halo[1] * smooth.noise))
    least = params.solid_share * float(np.percentile(differs[zone.inside], params.usual))
    whole = within(zone, differs > max(params.solid[0], params.solid[1] * smooth.noise, least)) & halo
    if not whole.any():
        return hard
    if hard is None or hard.worth < reads_well or _rest(whole, hard.body) > params.missed * hard.body.sum():
        deep = shrink(whole, 1)
        other = _judged(zone, whole, spread(zone.crop, deep if deep.any() else whole))
        if hard is None or other.worth > hard.worth + params.better:
            hard = other
    if _rest(halo, hard.body) < params.least_halo * hard.body.sum() or not _fades(zone, halo, params):
        return hard
    return replace(hard, halo=halo | hard.body)


def _rest(mask: Mask, body: Mask) -> int:
    """Pixels of `mask` that lie clear of `body`."""
    return int((mask & ~grow(body, 2)).sum())


def _fades(zone: Zone, halo: Mask, params: ContrastParams) -> bool:
    """Whether a shadow or glow is over before the strokes' reach ends; if not, the ground's surface is wrong there."""
    end = zone.reach & ~shrink(zone.reach, max(1, round(params.end * zone.height))) & ~zone.taken
    border = np.ones_like(end)
    border[params.canvas : -params.canvas, params.canvas : -params.canvas] = False  # where the picture ends, too
    at_end = (halo & end).sum() < params.fades * max(1, end.sum())
    return bool(at_end and (halo & border).sum() < params.fades * border.sum())


def _with_other_inks(zone: Zone, strokes: Strokes, reads_well: float, params: OtherInkParams = OTHER_INKS) -> Strokes:
    """The strokes with those of further colours: an outline or, while they don't read, more letters."""
    crop, body, ink = zone.crop, strokes.body, strokes.ink
    rare = histogram(crop[zone.ring])
    complete = strokes.worth >= reads_well
    one_colour = bool(body.any()) and is_even(crop, body)
    first = int(body.sum())
    for _ in range(params.most - 1):
        rest = zone.inside & ~grow(body, 1)
        if not body.any() or rest.sum() < params.fewest:
            break
        share, centre, _ = commonest(histogram(crop[rest]) - 2 * rare)
        if share < params.rare:
            break
        alike = np.abs(crop - centre).max(-1) < params.near * CELL
        more = within(zone, alike & ~body)
        if more.sum() < params.least * first or not is_even(crop, more):
            break
        if _runs_around(zone, more, body, params):
            more = _to_its_width(alike & ~body & zone.reach, more, body, params.outline_width)
        elif complete or not one_colour or not _are_letters(more, body, params):
            break
        body = within(zone, body | _closed(more, body))
        ink = np.where(more[..., None], crop, ink)
    return strokes if body is strokes.body else _judged(zone, body, ink)


def _closed(more: Mask, body: Mask) -> Mask:
    """`more` with the mixed pixels between it and `body`."""
    return more | (grow(more, 1) & grow(body, 1))


def _runs_around(zone: Zone, more: Mask, body: Mask, params: OtherInkParams) -> bool:
    """Whether `more` is an outline: it lies along most of the rim of `body`, and hardly anywhere else."""
    rim = grow(body, 2) & ~body
    close = grow(body, max(2, round(params.outline * zone.height)))
    along = (rim & grow(more, 1)).sum() > params.outline_rim * rim.sum()
    return bool(along and (more & close).sum() > params.outline_close * more.sum())


def _to_its_width(alike: Mask, outline: Mask, body: Mask, percentile: float) -> Mask:
    """The outline also where it runs into a shape of its own colour: as wide as it is elsewhere."""
    away = distance_to(body)
    return alike & (away <= np.percentile(away[outline], percentile))


def _are_letters(more: Mask, body: Mask, params: OtherInkParams) -> bool:
    """Whether `more` is made of parts as tall as the letters in `body`."""
    parts, letters = components(more), components(body)
    tall = letters.height[1:].max(initial=0)
    alike = parts.height[1:] > params.tall * tall
    return bool(parts.area[1:][alike].sum() > params.tall_share * more.sum())
