"""Holes in flat art: the regions around a hole and their continued outlines, painted at full size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.continuation import Points, continue_outlines, drawn, rim_evenness
from bridge.backends.builtin.masks import Floats, Labels, Mask, components, distance_to
from bridge.backends.builtin.regions import Regions, even_regions, nearest_label, united
from bridge.pyramid import harmonic, shrunk_known


@dataclass(frozen=True)
class FlatParams:
    """When a hole's surroundings are flat art, and how they are painted. Colours in levels of 255."""

    side: int = 512
    """Outlines are found on a picture reduced to at most this many pixels a side."""
    known: float = 0.999
    """A pixel of the reduced picture is known where this share of what it covers is."""
    least_even: float = 0.9
    """The share of the hole's rim that must lie in, or close to, an even region."""
    most_off: float = 1.6
    """How far the regions' smooth colours may on the mean be from the pixels near the hole."""
    near: float = 14.0
    """Pixels of the reduced picture: what counts as near the hole."""
    grain: tuple[int, int] = (5, 5)
    """Pixels of the reduced picture over which grain averages out."""
    sure: float = 0.8
    """A part of the hole belongs to the region that has this share of its rim."""
    colour_side: int = 192
    """Colours within a region are smooth: they are spread on a picture of at most this many pixels a side."""
    beyond: float = 0.5
    """How far a gradient may go on past its known colours, as a share of their range."""
    gradient_ridge: float = 1e-4
    """How much a region's fitted gradient is held down, a pixel …"""
    curvature_ridge: float = 1e-2
    """… and its curvature."""
    soft_edge: float = 0.6
    """Pixels (sigma); how soft drawn edges usually are."""
    faintest: float = 0.05
    """Where the regions together cover less than this of a pixel, it keeps its colour."""


PARAMS = FlatParams()


def fill_flat(picture: NDArray[np.uint8], hole: Mask, others: Mask, params: FlatParams = PARAMS) -> Floats | None:
    """`picture` (H, W, 3) with `hole` filled by the regions around it, float32 0…255; None where these are not even.

    others: unknown pixels that are not to be filled.
    """
    height, width = hole.shape
    scale = min(1.0, params.side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small, share = shrunk_known(picture.astype(np.float32), ~(hole | others), size)
    unknown = share < params.known
    small_hole = unknown & (cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    pieces = even_regions(small, ~unknown)
    if pieces is None or rim_evenness(small_hole, pieces) < params.least_even:
        return None
    regions = united(pieces, small, small_hole)
    curves = continue_outlines(small, small_hole, pieces, regions)
    if curves is None:
        return None
    near = (distance_to(small_hole) < params.near) & ~unknown
    fields = _colour_fields(small, regions, unknown, np.unique(regions.labels[near]), params)
    if _mean_miss(small, fields, regions.labels, near, params.grain) > params.most_off:
        return None
    factor = np.array([width / size[0], height / size[1]])
    large = cv2.resize(regions.labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    labels = _divided(large.astype(np.int32), hole, [(curve + 0.5) * factor - 0.5 for curve in curves], params.sure)
    return _painted(picture, hole, labels, fields, params)


def _divided(labels: Labels, hole: Mask, curves: list[Points], sure: float) -> Labels:
    """`labels` with the hole cut along `curves`; each part takes the region that it touches outside."""
    parts = components(hole & ~drawn(curves, hole.shape), diagonal=False)
    touching = _touching(parts.labels, parts.count, labels, hole)
    total = touching.sum(1)
    name = touching.argmax(1).astype(np.int32)
    decided = (total > 0) & (touching.max(1) >= sure * np.maximum(total, 1))
    decided[0] = False
    out = np.where(hole, 0, labels + 1)
    inside = hole & (parts.labels > 0)
    out[inside] = np.where(decided, name + 1, 0)[parts.labels[inside]]
    # A part that touches several regions, or none, is shared among them by nearness; so are the curves' own pixels.
    nearest, _ = nearest_label(out, each_pixel=True)
    return nearest - 1


def _touching(parts: Labels, count: int, labels: Labels, hole: Mask) -> NDArray[np.int64]:
    """(count, regions): how many pixels of each part lie beside each region."""
    regions = int(labels.max()) + 1
    table = np.zeros(count * regions, np.int64)
    for axis in (0, 1):
        for step in (1, -1):
            beside, known = np.roll(labels, step, axis), np.roll(~hole, step, axis)
            edge = np.s_[0 if step == 1 else -1]
            (known if axis == 0 else known.T)[edge] = False  # what rolled in from the other side
            rim = known & (parts > 0)
            table += np.bincount(parts[rim] * regions + beside[rim], minlength=len(table))
    return table.reshape(count, regions)


def _colour_fields(
    small: Floats, regions: Regions, unknown: Mask, wanted: Labels, params: FlatParams
) -> dict[int, Floats]:
    """Each wanted region's own colours, spread over the whole reduced picture."""
    scale = min(1.0, params.colour_side / max(small.shape[:2]))
    size = (max(1, round(small.shape[1] * scale)), max(1, round(small.shape[0] * scale)))
    fields = dict[int, Floats]()
    for label in wanted:
        known = regions.even & ~unknown & (regions.labels == label)
        if known.any():
            fields[int(label)] = _spread(*shrunk_known(small, known, size), params)
    return fields


def _mean_miss(small: Floats, fields: dict[int, Floats], labels: Labels, near: Mask, grain: tuple[int, int]) -> float:
    """How far the regions' colours are from the pixels near the hole, on the mean, in levels."""
    total = 0.0
    for label, field in fields.items():
        own = near & (labels == label)
        whole = cv2.resize(field, (near.shape[1], near.shape[0]), interpolation=cv2.INTER_LINEAR)
        # Neighbours averaged first: grain is not wrong colour.
        weight = np.asarray(cv2.blur(own.astype(np.float32), grain), np.float32)
        miss = np.asarray(cv2.blur((whole - small) * own[..., None], grain), np.float32)[own] / weight[own][:, None]
        total += float(np.abs(miss).mean(-1).sum())
    return total / max(1, int(near.sum()))


def _painted(
    picture: NDArray[np.uint8],
    hole: Mask,
    labels: Labels,
    fields: dict[int, Floats],
    params: FlatParams,
    margin: int = 3,
) -> Floats:
    """Each region's colours in its part of the hole; edges between parts as soft as drawn ones.

    margin: pixels around the hole that softening looks at.
    """
    height, width = hole.shape
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    box = np.s_[
        max(0, int(rows[0]) - margin) : int(rows[-1]) + margin + 1,
        max(0, int(columns[0]) - margin) : int(columns[-1]) + margin + 1,
    ]
    part, inside = labels[box], hole[box]
    total = np.zeros((*part.shape, 3), np.float32)
    weights = np.zeros(part.shape, np.float32)
    for label, field in fields.items():
        own = np.asarray(part == label, np.float32)
        if not own.any():
            continue
        cover = np.asarray(cv2.GaussianBlur(own, (0, 0), params.soft_edge), np.float32)
        total += _enlarged(field, width, height, box) * cover[..., None]
        weights += cover
    out = picture.astype(np.float32)
    painted = total / np.maximum(weights, 1e-6)[..., None]
    out[box][inside] = np.where((weights > params.faintest)[..., None], painted, out[box])[inside]
    return out


def _spread(colours: Floats, share: Floats, params: FlatParams) -> Floats:
    """The known colours continued over everything: a quadratic surface, and what it leaves spread by `harmonic`.

    The surface carries a gradient on where the region lies on one side of the hole only; it stays near known colours.
    """
    height, width = share.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    known = share > 0.5 if (share > 0.5).any() else share > 0
    a, b = terms[known].astype(np.float64), colours[known].astype(np.float64)
    ridge = np.diag([0, *[params.gradient_ridge] * 2, *[params.curvature_ridge] * 3]) * len(a)
    surface = terms @ np.linalg.lstsq(a.T @ a + ridge, a.T @ b, rcond=None)[0].astype(np.float32)
    lowest, highest = b.min(0), b.max(0)
    margin = params.beyond * (highest - lowest)
    surface = np.clip(surface, lowest - margin, highest + margin).astype(np.float32)
    return surface + harmonic(colours - surface, share)


def _enlarged(field: Floats, width: int, height: int, box: tuple[slice, slice]) -> Floats:
    """The part `box` of `field` enlarged to width × height, without making the whole."""
    top, left = box[0].start, box[1].start
    h, w = min(box[0].stop, height) - top, min(box[1].stop, width) - left
    sx, sy = field.shape[1] / width, field.shape[0] / height
    matrix = np.array([[sx, 0, (left + 0.5) * sx - 0.5], [0, sy, (top + 0.5) * sy - 0.5]], np.float32)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(field, matrix, (w, h), flags=how, borderMode=cv2.BORDER_REPLICATE), np.float32)
