"""Flat art over holes: regions and their continued outlines, painted at full size."""

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.continuation import Labels, Regions, even_regions, outlines, rim_evenness, united
from bridge.pyramid import harmonic, shrunk_known

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SIDE = 512  # outlines are found on pictures of at most this many pixels a side
COLOUR_SIDE = 192  # colours within a region are smooth: they are spread at this size
NEAR = 14  # pixels of the reduced picture: what counts as beside the hole
BEYOND = 0.5  # how far a gradient may go on past its known colours, as a share of their range
GRAIN = (5, 5)  # pixels of the reduced picture over which grain averages out
SOFT_EDGE = 0.6  # pixels; how soft drawn edges usually are


def fill_flat(
    picture: NDArray[np.uint8],
    hole: Bools,
    others: Bools,
    *,
    least_even: float = 0.9,
    most_off: float = 1.6,
) -> Floats | None:
    """`picture` (H, W, 3) with `hole` filled by the regions around it, float32 0…255; None where these are not even.

    others: unknown pixels that are not to be filled. least_even: the share of the hole's rim that must lie in, or close
    to, an area of slowly changing colour.
    most_off: how far, in levels, the regions' smooth colours may on the mean be from the pixels near the hole.
    """
    height, width = hole.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small, share = shrunk_known(picture.astype(np.float32), ~(hole | others), size)
    unknown = share < 0.999
    small_hole = unknown & (cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    regions = even_regions(small, ~unknown)
    if regions is None or rim_evenness(small_hole, regions) < least_even:
        return None
    pieces, regions = regions, united(regions, small, small_hole)
    curves = outlines(small, small_hole, pieces, regions)
    if curves is None:
        return None
    near = (cv2.distanceTransform((~small_hole).astype(np.uint8), cv2.DIST_L2, 3) < NEAR) & ~unknown
    fields = _colour_fields(small, regions, unknown, np.unique(regions.labels[near]))
    if _off(small, fields, regions.labels, near) > most_off:
        return None
    factor = np.array([width / size[0], height / size[1]])
    labels = cv2.resize(regions.labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST).astype(
        np.int32
    )
    labels = _divided(labels, hole, [(curve + 0.5) * factor - 0.5 for curve in curves])
    return _painted(picture, hole, labels, fields)


def _divided(labels: Labels, hole: Bools, curves: list[NDArray[np.float64]]) -> Labels:
    """`labels` with the hole cut along `curves`; each part takes the region that it touches outside."""
    walls = np.zeros(hole.shape, np.uint8)
    cv2.polylines(walls, [np.round(curve * 16).astype(np.int32) for curve in curves], False, 1, 2, cv2.LINE_8, 4)
    count, parts = cv2.connectedComponents((hole & (walls == 0)).astype(np.uint8), connectivity=4)
    touching = _touching(parts, count, labels, hole)
    total = touching.sum(1)
    name = touching.argmax(1).astype(np.int32)
    sure = touching.max(1) >= 0.8 * np.maximum(total, 1)
    sure[0] = False
    decided = (total > 0) & sure
    out = np.where(hole, 0, labels + 1)
    inside = hole & (parts > 0)
    out[inside] = np.where(decided, name + 1, 0)[parts[inside]]
    # A part that touches several regions, or none, is shared among them by nearness; so are the walls.
    nearest = _nearest_label(out)
    return nearest - 1


def _touching(parts: Labels, count: int, labels: Labels, hole: Bools) -> NDArray[np.int64]:
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


def _nearest_label(labels: Labels) -> Labels:
    _, blob = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    seeds = labels > 0
    names = np.zeros(int(blob.max()) + 1, np.int32)
    names[blob[seeds]] = labels[seeds]
    return np.where(seeds, labels, names[blob])


def _colour_fields(small: Floats, regions: Regions, unknown: Bools, wanted: Labels) -> dict[int, Floats]:
    """Each wanted region's own colours, spread over the whole reduced picture."""
    scale = min(1.0, COLOUR_SIDE / max(small.shape[:2]))
    size = (max(1, round(small.shape[1] * scale)), max(1, round(small.shape[0] * scale)))
    fields = dict[int, Floats]()
    for label in wanted:
        known = regions.even & ~unknown & (regions.labels == label)
        if known.any():
            fields[int(label)] = _spread(*shrunk_known(small, known, size))
    return fields


def _off(small: Floats, fields: dict[int, Floats], labels: Labels, near: Bools) -> float:
    """How far the regions' colours are from the pixels beside the hole, on the mean, in levels."""
    total = 0.0
    for label, field in fields.items():
        own = near & (labels == label)
        whole = cv2.resize(field, (near.shape[1], near.shape[0]), interpolation=cv2.INTER_LINEAR)
        # Neighbours averaged first: grain is not wrong colour.
        weight = cv2.blur(own.astype(np.float32), GRAIN)
        off = cv2.blur((whole - small) * own[..., None], GRAIN)[own] / weight[own][:, None]
        total += float(np.abs(off).mean(-1).sum())
    return total / max(1, int(near.sum()))


def _painted(picture: NDArray[np.uint8], hole: Bools, labels: Labels, fields: dict[int, Floats]) -> Floats:
    """Each region's colours in its part of the hole; edges between parts as soft as drawn ones."""
    height, width = hole.shape
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    box = np.s_[max(0, rows[0] - 3) : rows[-1] + 4, max(0, columns[0] - 3) : columns[-1] + 4]
    part, inside = labels[box], hole[box]
    total = np.zeros((*part.shape, 3), np.float32)
    weights = np.zeros(part.shape, np.float32)
    for label, field in fields.items():
        if not (part == label).any():
            continue
        cover = cv2.GaussianBlur((part == label).astype(np.float32), (0, 0), SOFT_EDGE)
        total += _enlarged(field, width, height, box) * cover[..., None]
        weights += cover
    out = picture.astype(np.float32)
    painted = total / np.maximum(weights, 1e-6)[..., None]
    out[box][inside] = np.where((weights > 0.05)[..., None], painted, out[box])[inside]
    return out


def _spread(colours: Floats, share: Floats) -> Floats:
    """The known colours continued over everything: a quadratic surface, and what it leaves spread by push-pull.

    The surface carries a gradient on where the region lies on one side of the hole only; it stays near known colours.
    """
    height, width = share.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    known = share > 0.5 if (share > 0.5).any() else share > 0
    a, b = terms[known].astype(np.float64), colours[known].astype(np.float64)
    ridge = np.diag([0, 1e-4, 1e-4, 1e-2, 1e-2, 1e-2]) * len(a)
    surface = terms @ np.linalg.lstsq(a.T @ a + ridge, a.T @ b, rcond=None)[0].astype(np.float32)
    lowest, highest = b.min(0), b.max(0)
    margin = BEYOND * (highest - lowest)
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
