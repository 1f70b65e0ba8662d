"""A draft stack of any size and colour becomes writable layers on the picture's canvas, in the document's numbers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from os import cpu_count

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.colour import ToDocument
from bridge.finish.encoding import Encoding
from bridge.finish.grid import Grid, Plate, small_source
from bridge.finish.images import Floats, each, enlarged, floats, joined, smoothstep, split, towards
from bridge.finish.match import clean_colours, match_colours
from bridge.finish.matte import RADIUS, Edges, find_edges, snapped
from bridge.picture import Layer, Picture, Pixels, Stack

U8 = NDArray[np.uint8]
OPAQUE = 250
"""Alpha of 255 from which a draft's pixel is opaque: models write 251–254 where they mean it."""
CLEAR = 5
"""Alpha of 255 up to which it is clear."""
FAINT = (3.0, 9.0)
"""Between these values of alpha, of 255, a draft's noise fades out."""
MARGIN = 4 * RADIUS
"""Working pixels around what a draft shows."""
HALO = 2
"""Working pixels that enlarging looks at beyond a layer's window."""
BAND = 64
"""Rows that are converted at a time."""


@dataclass(frozen=True)
class Fitted:
    """Writable layers in the document's numbers, as large as they need to be, the first as large as the canvas.

    edges: what is known about each layer's; step: the picture's pixels in one of the draft's, on a side.
    """

    stack: Stack
    edges: list[Edges | None]
    step: int = 1


def fit(draft: Stack, picture: Picture, *, faithful: bool) -> Fitted:
    """The draft on the picture's canvas. faithful: it has its size already, and gives the picture back (see sift)."""
    if faithful:
        stack = fit_to_canvas(draft, picture)
        return Fitted(stack, [None] * len(stack.layers))
    return enlarge(draft, picture)


def fit_to_canvas(draft: Stack, picture: Picture) -> Stack:
    """A draft that has the picture's own size and colours, such as the built-in splitter's, in the document's numbers.

    draft: one or more (h, w, 4) uint8 sRGB layers, back to front. Alphas that are nearly 0 or 255 are snapped, and the
    first layer becomes a whole canvas. Returns writable copies.
    """
    convert = ToDocument(picture)
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        layers = list(pool.map(partial(_converted, convert=convert), draft.layers))
    layers[0] = _as_backdrop(layers[0], picture)
    return Stack(tuple(layers), picture.width, picture.height)


def _converted(layer: Layer, convert: ToDocument) -> Layer:
    form, drafted = convert.form, layer.pixels
    alpha = _snapped(drafted[..., 3])
    if convert.same:
        pixels = np.array(drafted, np.uint8, order="C")
        pixels[..., 3] = alpha
        return replace(layer, pixels=pixels)
    height, width = alpha.shape
    pixels = np.empty((height, width, form.channels + 1), form.dtype)
    for top in range(0, height, BAND):
        rows = slice(top, top + BAND)
        unit = np.dstack([convert(drafted[rows, :, :3]), alpha[rows].astype(np.float32) * np.float32(1 / 255)])
        pixels[rows] = form.from_unit(unit)
    return replace(layer, pixels=pixels)


def _snapped(alpha: U8) -> U8:
    snapped = np.where(alpha >= OPAQUE, np.uint8(255), alpha)
    snapped[alpha <= CLEAR] = 0
    return snapped


def _as_backdrop(layer: Layer, picture: Picture) -> Layer:
    """The bottom layer on a whole canvas: clear stays clear, so that a cut-out on nothing gets no ground of its own."""
    if layer.rect == (0, 0, picture.width, picture.height):
        return layer
    whole = np.zeros((picture.height, picture.width, layer.pixels.shape[2]), layer.pixels.dtype)
    left, top, width, height = layer.rect
    whole[top : top + height, left : left + width] = layer.pixels
    return replace(layer, pixels=whole, left=0, top=0)


def enlarge(draft: Stack, picture: Picture) -> Fitted:
    """A model's draft, of another size or with drifted colours, enlarged to the picture's canvas.

    draft: one or more (h, w, 4) uint8 sRGB layers, back to front, on a canvas of any size. Hidden colours are the
    draft's, shifted as what is seen shows that they must be; alphas wait for `matte.sharpen_rows` with the edges found.
    """
    grid, convert = Grid.of(draft, picture), ToDocument(picture)
    form = convert.form
    source = small_source(grid, picture, form)
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        placed = pool.map(partial(_placed, draft=draft, grid=grid, convert=convert), draft.layers)
        plates = match_colours([plate for plate in placed if plate.alpha.size], source)
        plates[0] = _spread_out(plates[0], grid)
        found = list(pool.map(partial(_edges, convert=convert, step=grid.step), _with_below(plates)))
        layers = list(pool.map(partial(_enlarged, grid=grid, form=form), plates))
    return Fitted(Stack(tuple(layers), picture.width, picture.height), found, grid.step)


def _placed(layer: Layer, draft: Stack, grid: Grid, convert: ToDocument) -> Plate:
    """The layer on the working grid, no larger than what it shows."""
    area = _covered(layer.pixels[..., 3])
    left, top = layer.left + area[1].start, layer.top + area[0].start
    shown = layer.pixels[area]
    if shown.size == 0:
        nothing = np.zeros((0, 0), np.float32)
        return Plate(layer.name, layer.kind, nothing[..., None], nothing)
    # Premultiplied, so that no colour of a clear pixel runs into its neighbours.
    alpha = floats(cv2.LUT(np.ascontiguousarray(shown[..., 3]), UNIT_ALPHA))
    count = convert.form.channels
    values = joined(convert(np.ascontiguousarray(shown[..., :3])) * each(alpha, count), alpha)
    there = (slice(top, top + len(shown)), slice(left, left + shown.shape[1]))
    window = grid.window(there, draft.width, draft.height, MARGIN)
    *premultiplied, share = split(grid.place(values, (left, top), draft.width, draft.height, window))
    share = floats(share.clip(0, 1))
    colour = floats(cv2.merge(premultiplied)).reshape(*share.shape, count)
    colour *= each(floats(1 / np.maximum(share, 1e-3)), count)
    plate = Plate(layer.name, layer.kind, colour, share, window[1].start, window[0].start)
    return clean_colours(plate, RADIUS)


def _unit_alpha() -> Floats:
    """(256,) what a model's alphas mean, 0–1: noise in what is clear fades out, 250 and more is opaque."""
    values = np.arange(256, dtype=np.float32)
    return np.minimum(values * smoothstep(values, *FAINT) * np.float32(1 / OPAQUE), 1)


UNIT_ALPHA = _unit_alpha()


def _covered(alpha: U8) -> tuple[slice, slice]:
    """Rows and columns of what is there; what fades out around it lies in the margin."""
    there = alpha >= FAINT[1]
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _spread_out(plate: Plate, grid: Grid) -> Plate:
    """The bottom plate over the whole grid."""
    if plate.alpha.shape == (grid.height, grid.width):
        return plate
    colour = np.zeros((grid.height, grid.width, plate.colour.shape[2]), np.float32)
    alpha = np.zeros((grid.height, grid.width), np.float32)
    colour[plate.window], alpha[plate.window] = plate.colour, plate.alpha
    return Plate(plate.name, plate.kind, colour, alpha)


def _with_below(plates: list[Plate]) -> list[tuple[Plate, Floats | None]]:
    """Each plate with what lies under it, (h, w, C) over its window; None under the first."""
    below = plates[0].colour.copy()
    jobs: list[tuple[Plate, Floats | None]] = [(plates[0], None)]
    for plate in plates[1:]:
        under = below[plate.window]
        jobs.append((plate, under.copy()))
        towards(under, plate.colour, plate.alpha)
    return jobs


def _edges(job: tuple[Plate, Floats | None], convert: ToDocument, step: int) -> Edges | None:
    plate, below = job
    if below is None:
        return None
    return find_edges(plate, below, convert.form, convert.steepness(plate.colour), step)


def _enlarged(plate: Plate, grid: Grid, form: Encoding) -> Layer:
    """The plate as a layer of the picture's size and numbers, a view into a slightly larger array."""
    height, width = plate.alpha.shape
    border = cv2.copyMakeBorder(_numbers(plate, form), HALO, HALO, HALO, HALO, cv2.BORDER_REPLICATE).reshape(
        height + 2 * HALO, width + 2 * HALO, form.channels + 1
    )
    big = enlarged(border, grid.step, cv2.INTER_CUBIC)
    skip = HALO * grid.step
    right = min(width * grid.step, grid.picture[0] - plate.left * grid.step)
    bottom = min(height * grid.step, grid.picture[1] - plate.top * grid.step)
    pixels = big[skip : skip + bottom, skip : skip + right]
    if not form.integer:
        np.clip(pixels[..., -1], 0, 1, out=pixels[..., -1])
        pixels = pixels.astype(form.dtype, copy=False)
    return Layer(plate.name, pixels, plate.left * grid.step, plate.top * grid.step, plate.kind)


def _numbers(plate: Plate, form: Encoding) -> Pixels:
    """Colour and alpha in the document's numbers (float16: float32, which OpenCV can enlarge)."""
    unit = joined(plate.colour, snapped(plate.alpha))
    if form.dtype == np.float16:
        return unit * (form.high - form.low) + form.low
    return form.from_unit(unit)
