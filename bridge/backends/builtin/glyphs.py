"""Lettering cut out of the ground that it stands on: from a line's box to the soft alpha and the ink of its strokes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, grow, shrink
from bridge.backends.builtin.shadow import cast
from bridge.backends.builtin.strokes import Strokes, find_strokes
from bridge.backends.builtin.zone import Zone
from bridge.pyramid import spread
from bridge.reading import Quad, ReadLine

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class GlyphParams:
    """How far around a line its strokes are looked for, and how its alpha is made. Colours in levels of 255."""

    margin: float = 0.9
    """Heights of the line: how far around it the ground is looked at …"""
    inside: float = 0.12
    """… how far strokes may rise out of the reader's box …"""
    reach: float = 0.4
    """… and how far a shadow, a swash or an outline may."""
    work_height: int = 72
    """Pixels: strokes are told from ground at this height of line; alpha is then made at full resolution."""
    band: float = 0.75
    """Pixels of that height: how far from the strokes' edge alpha is unknown …"""
    clean_fringe: int = 2
    """… and pixels further out on a clean ground, where the faintest fringe is followed …"""
    fringe: int = 1
    """… and on a busy one, where what is that far out is the ground's own pattern."""
    clean_solid: float = 4.0
    """A stroke's pixel no further from its ink than this is solid on a clean ground …"""
    solid: float = 10.0
    """… and this on a busy one."""
    near_solid: int = 3
    """Bands from solid strokes within which their own colours are the ink."""
    usual: float = 90.0
    """The percentile of alpha beside the strokes that is taken for the picture's noise …"""
    noise_gain: float = 1.2
    """… times this: alpha that is nearer to 0 or 1 becomes that …"""
    least_grain: float = 0.01
    """… but where it is nearer than this always …"""
    most_grain: float = 0.06
    """… and where it is further off than this never."""
    stray_gain: float = 2.0
    """Strokes fade where a colour lies beside the way from ground to ink: by so much for each length of the way …"""
    stray_free: float = 0.6
    """… less this."""
    least_room: float = 32.0
    """A channel with less room to change tells little: a level of it would count as a dense glow."""
    visible: float = 1.5 / 255
    """The alpha from which a shadow or a glow is seen."""


PARAMS = GlyphParams()


@dataclass(frozen=True)
class Lettering:
    """A line's strokes, cropped. alpha: (h, w) float32 0…1; ink: (h, w, 3) float32 0…255; left, top: canvas pixels."""

    left: int
    top: int
    alpha: Floats
    ink: Floats


def cut_lettering(
    rgb: Rgb, line: ReadLine, others: Sequence[ReadLine] = (), params: GlyphParams = PARAMS
) -> Lettering | None:
    """The strokes of `line` in `rgb` (H, W, 3) uint8, or None where they cannot be told from their ground.

    others: the picture's other lines, which are neither this line's ink nor its ground.
    """
    margin = line.height * params.margin
    place = _place(rgb, line.quad, margin)
    crop = rgb[place].astype(np.float32)
    offset = np.array([place[1].start, place[0].start], np.float32)
    quad = line.quad - offset
    near = [other.quad - offset for other in others if _touches(other.quad, line.quad, margin)]

    scale = min(1.0, params.work_height / line.height)
    small = crop if scale == 1 else _resized(crop, (round(crop.shape[1] * scale), round(crop.shape[0] * scale)))
    scales = np.array([small.shape[1] / crop.shape[1], small.shape[0] / crop.shape[0]], np.float32)
    height = line.height * scale
    areas = _areas(small.shape[:2], quad * scales, [q * scales for q in near], height, params)
    strokes = find_strokes(Zone(small, *areas, height, quad * scales, line.text))
    if strokes is None:
        return None

    _, reach, taken = _areas(crop.shape[:2], quad, near, line.height, params)
    alpha, ink = _matte(crop, strokes, reach, taken, 1 / scale, line.height, params)
    return _cropped(alpha, ink, place[1].start, place[0].start)


def _resized(values: Floats, size: tuple[int, int]) -> Floats:
    """`values` (h, w) or (h, w, C) at `size` (width, height), which is at least one pixel."""
    size = (max(1, size[0]), max(1, size[1]))
    smaller = size[0] < values.shape[1]
    return np.asarray(
        cv2.resize(values, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.float32
    )


def _place(rgb: Rgb, quad: Quad, margin: float) -> tuple[slice, slice]:
    height, width = rgb.shape[:2]
    left, top = np.floor(quad.min(0) - margin).clip(0).astype(int)
    right, bottom = np.ceil(quad.max(0) + margin).astype(int) + 1
    return slice(min(top, height - 1), min(bottom, height)), slice(min(left, width - 1), min(right, width))


def _touches(a: Quad, b: Quad, margin: float) -> bool:
    return bool((a.min(0) < b.max(0) + margin).all() and (b.min(0) < a.max(0) + margin).all())


def _areas(
    shape: tuple[int, int], quad: Quad, others: Sequence[Quad], height: float, params: GlyphParams
) -> tuple[Mask, Mask, Mask]:
    """Where the strokes' bodies are, how far they may reach, and what belongs to other lines."""
    inside = _polygon(shape, _grown(quad, params.inside * height))
    reach = _polygon(shape, _grown(quad, params.reach * height))
    taken = np.zeros(shape, bool)
    for other in others:
        taken |= _polygon(shape, _grown(other, params.inside * float(np.linalg.norm(other[3] - other[0]))))
    own = _polygon(shape, quad)
    return inside & (own | ~taken), reach & (own | ~taken), taken & ~own


def _polygon(shape: tuple[int, int], quad: Quad) -> Mask:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(quad).astype(np.int32)], 1)
    return mask > 0


def _grown(quad: Quad, by: float) -> Quad:
    """The quad with each side moved outwards by `by` pixels."""
    across, down = quad[1] - quad[0], quad[3] - quad[0]
    across = across / max(float(np.linalg.norm(across)), 1e-3) * by
    down = down / max(float(np.linalg.norm(down)), 1e-3) * by
    return quad + np.stack([-across - down, across - down, across + down, -across + down]).astype(np.float32)


def _matte(
    crop: Floats, strokes: Strokes, reach: Mask, taken: Mask, scale: float, height: float, params: GlyphParams
) -> tuple[Floats, Floats]:
    """Alpha and ink at full resolution of strokes found at 1/scale of it.

    Only a band around the strokes' edges is unknown. In it, ink is what the nearest solid strokes are and ground what
    the nearest free ground is, and alpha where the picture's colour lies between the two.
    """
    size = (crop.shape[1], crop.shape[0])
    body = _resized(strokes.body.astype(np.float32), size) > 0.5
    band = max(1, round(params.band * scale))
    fringe = params.clean_fringe if strokes.clean else params.fringe
    edge = grow(body, band + fringe)
    ground = spread(crop, ~edge & ~taken)
    ink = strokes.ink if scale == 1 else _resized(strokes.ink, size)
    core = shrink(body, band + 1) & body
    alike = np.abs(crop - ink).max(-1) < (params.clean_solid if strokes.clean else params.solid)
    solid = core | (body & alike)
    if solid.any():
        near = spread(crop, solid)
        ink = np.where(grow(solid, params.near_solid * band + 2)[..., None], near, ink).astype(np.float32)
    alpha = _between(crop, ground, ink, params)
    beside = alpha[grow(body, band + fringe + 2) & ~edge & ~taken]
    noise = float(np.percentile(beside, params.usual)) if beside.size else params.most_grain
    grain = min(max(params.noise_gain * noise, params.least_grain), params.most_grain)
    alpha[core] = 1
    alpha[~edge | ~reach] = 0
    alpha = _snapped(alpha, grain)
    if strokes.halo is not None:
        halo = _resized(strokes.halo.astype(np.float32), size) > 0.5
        return _with_halo(crop, alpha, ink, ground, halo, reach, taken, params)
    if strokes.shadow is not None:
        return _over_shadow(alpha, ink, cast(alpha, strokes.shadow, height), reach, params.visible)
    return alpha, ink


def _between(crop: Floats, ground: Floats, ink: Floats, params: GlyphParams) -> Floats:
    """Where each pixel's colour lies on the way from ground (0) to ink (1); 0 where it is far from that way."""
    axis = ink - ground
    length = np.maximum((axis * axis).sum(-1), 1.0)
    step = crop - ground
    share = (step * axis).sum(-1) / length
    off = np.linalg.norm(step - share[..., None] * axis, axis=-1)
    # 1 for a colour that no mixture of the two gives
    astray = np.clip(off / np.sqrt(length) * params.stray_gain - params.stray_free, 0, 1)
    return (np.clip(share, 0, 1) * (1 - astray)).astype(np.float32)


def _snapped(alpha: Floats, grain: float) -> Floats:
    """Alpha with what is within `grain` of 0 or 1 at 0 and 1: no haze where the picture is noisy."""
    out = np.where(alpha < grain, 0, np.where(alpha > 1 - grain, 1, alpha))
    return out.astype(np.float32)


def _with_halo(
    crop: Floats,
    alpha: Floats,
    ink: Floats,
    under: Floats,
    halo: Mask,
    reach: Mask,
    taken: Mask,
    params: GlyphParams,
) -> tuple[Floats, Floats]:
    """The strokes together with the soft shadow or glow `halo` on the ground under them.

    under: the ground next to the strokes, shadow and all. The shadow's alpha is the least that explains how it differs
    from the ground beyond the shadow.
    """
    free = spread(crop, ~grow(halo | (alpha > 0), 2) & ~taken)
    seen = np.where((alpha > 0)[..., None], under, crop)
    change = seen - free
    # a shadow only darkens and a glow only lightens; the other way lies what is left of the letters' own edges
    lightens = float(change[halo & (alpha == 0)].sum()) > 0
    change = np.maximum(change, 0) if lightens else np.minimum(change, 0)
    room = 255 - free if lightens else free
    thin = (np.abs(change) / np.maximum(room, params.least_room)).max(-1)
    thin = np.where(halo & reach & (thin > params.visible), thin.clip(0, 1), 0).astype(np.float32)
    tint = np.clip(free + change / np.maximum(thin, 1e-3)[..., None], 0, 255).astype(np.float32)
    return _over(alpha, ink, thin, tint)


def _over_shadow(alpha: Floats, ink: Floats, shadow: Floats, reach: Mask, visible: float) -> tuple[Floats, Floats]:
    """The strokes over their black shadow."""
    thin = np.where(reach & (shadow > visible), shadow, 0).astype(np.float32)
    return _over(alpha, ink, thin, np.zeros_like(ink))


def _over(alpha: Floats, ink: Floats, thin: Floats, tint: Floats) -> tuple[Floats, Floats]:
    """Strokes over a thin layer, as one layer."""
    below = (1 - alpha) * thin
    whole = alpha + below
    mixed = (ink * alpha[..., None] + tint * below[..., None]) / np.maximum(whole, 1e-6)[..., None]
    return whole.astype(np.float32), np.where(thin[..., None] > 0, mixed, ink).astype(np.float32)


def _cropped(alpha: Floats, ink: Floats, left: int, top: int) -> Lettering | None:
    rows, columns = np.flatnonzero(alpha.max(1) > 0), np.flatnonzero(alpha.max(0) > 0)
    if not len(rows):
        return None
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Lettering(left + int(columns[0]), top + int(rows[0]), alpha[part].copy(), ink[part].astype(np.float32))
