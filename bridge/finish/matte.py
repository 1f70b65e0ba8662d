"""Edges at the picture's full resolution.

A draft says to within a few of its own pixels where a layer ends, and what colours lie on either side. The picture
says the rest: in the unknown band each pixel I is a mixture α F + (1 − α) B of the layer's colour F and what is below
it, so α is where I projects onto the line from B to F. The draft's alpha and that projection are averaged by how far
each can be trusted: the draft where it changes slowly (soft shadows), the projection where F and B differ by more than
the drafts' noise and texture (hair, type, hard edges).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.encoding import Encoding
from bridge.finish.flatten import Rows
from bridge.finish.grid import Plate
from bridge.finish.images import Floats, blurred, enlarged, floats, mean_of_channels, smoothstep, square
from bridge.picture import Pixels, Stack

U8 = NDArray[np.uint8]
RADIUS = 2
"""Working pixels by which a draft's edge may be off: models blur by about one, and smaller things vanish into it."""
NOISE = 3 / 255
"""The drafts' colours after their drift is taken out: standard deviation, in sRGB."""
DOUBT = 0.01
"""Of the draft's alpha where it does not change: standard deviation."""
TEXTURE = 4.0
"""By how much more texture around an edge counts than noise: the draft has it at the wrong place."""
STRETCH = 3.0
"""How far beyond the draft's local range alpha may go, in parts of it: a thin line never reaches 1 in a draft."""
FREE = (0.85, 0.99)
"""Of what the layers above let through: where less of the pixel is seen it speaks of them, not of this one."""
GRAIN = 0.12
"""How much of the projection's deviation is taken for the texture of what lies on either side, and not for alpha."""
CLEAR, OPAQUE = 5, 250
"""Alpha of 255 up to which a draft is clear, and from which it is opaque."""
FLAT = 2
"""Where a draft's alpha, of 255, changes by no more than this around a pixel there is no edge."""
LEAST_TRUST = 8
"""Trust of 255 below which the draft's alpha stays."""
DEVIATIONS = 510
"""What a standard deviation of 1 is in the guide's bytes."""
STRAY = 3.0
"""How much it counts that a pixel's colour lies beside the line from B to F: then it is no mixture of the two."""
SNAP = (0.01, 0.03)
"""Alpha below the first is clear, above the second as it was; and so at the other end."""


@dataclass(frozen=True)
class Edges:
    """What is known about a layer's edges, on the working grid, over the layer's own window.

    below: (h, w, C), what lies under the layer, in the document's numbers (float16: float32). guide: (h, w, 7) uint8:
    trust in the projection; least and greatest alpha; what trust is made of, the draft's doubt and the projection's,
    each as a standard deviation, 255 for 0.5; whether the draft is clear, and whether it is opaque, close by. left,
    top: of the window on the grid; step: as Grid's.
    """

    below: Pixels
    guide: U8
    left: int
    top: int
    step: int


def find_edges(plate: Plate, below: Floats, form: Encoding, steepness: Floats | float, step: int) -> Edges | None:
    """The unknown band around `plate`, or None where there is none.

    below: (h, w, C) over the plate's window, unit range; steepness: see ToDocument.
    """
    alpha8 = np.rint(plate.alpha * 255).astype(np.uint8)
    around = square(RADIUS)
    low = cv2.erode(alpha8, around, borderType=cv2.BORDER_REPLICATE)
    high = cv2.dilate(alpha8, around, borderType=cv2.BORDER_REPLICATE)
    span = cv2.subtract(high, low)
    if not span.any():
        return None
    doubt = (span.astype(np.float32) * (0.5 / 255)) ** 2 + np.float32(DOUBT**2)
    across = plate.colour - below
    contrast = mean_of_channels(floats(across * across)) * across.shape[2]
    inside, outside = plate.alpha, 1 - plate.alpha
    unsure = _variance(plate.colour) * (inside * inside) + _variance(below) * (outside * outside)
    noise = np.square(np.float32(NOISE) * steepness)
    trust = doubt * contrast / (doubt * contrast + noise + np.float32(TEXTURE) * unsure)
    trust8 = np.rint(trust * 255).astype(np.uint8)
    trust8[span <= FLAT] = 0
    reach = span.astype(np.float32) * STRETCH
    least = (low - reach).clip(0, 255).astype(np.uint8)
    most = (high + reach).clip(0, 255).astype(np.uint8)
    most[high <= CLEAR] = 0
    doubts = [np.sqrt(each) * DEVIATIONS for each in (doubt, noise + np.float32(TEXTURE) * unsure)]
    deviations = (np.rint(each.clip(0, 255)).astype(np.uint8) for each in doubts)
    ends = ((low <= CLEAR).view(np.uint8) * 255, (high >= OPAQUE).view(np.uint8) * 255)
    guide = np.dstack([trust8, least, most, *deviations, *ends])
    return Edges(_plain(below, form), guide, plate.left, plate.top, step)


def _variance(colour: Floats) -> Floats:
    """Of the lightness around each pixel, times the number of channels: all of them mostly vary alike. (h, w)."""
    light, size = mean_of_channels(colour), 2 * RADIUS + 1
    mean = blurred(light, size)
    return np.maximum(blurred(light * light, size) - mean * mean, 0) * colour.shape[2]


def _plain(unit: Floats, form: Encoding) -> Pixels:
    """In the document's numbers, but for float16, which OpenCV does not enlarge."""
    return unit if form.dtype == np.float16 else form.from_unit(unit)


def sharpen_rows(stack: Stack, edges: list[Edges | None], source: Pixels, form: Encoding, rows: Rows) -> None:
    """Give canvas rows rows[0]…rows[1] of every layer its alpha at full resolution, in place.

    stack: writable layers as enlarged from the draft, with `edges` for each. source: (H, W, C+1).
    rows: rows[0] is a multiple of the edges' step.
    """
    if not any(edges):
        return
    through: Floats | None = None
    for layer, edge in zip(reversed(stack.layers), reversed(edges), strict=True):
        left, top, width, height = layer.rect
        first, last = max(rows[0], top), min(rows[1], top + height)
        if first >= last:
            continue
        view = layer.pixels[first - top : last - top]
        free = None if through is None else through[first - rows[0] : last - rows[0], left : left + width]
        if edge is not None:
            _sharpen(view, edge, source[first:last, left : left + width], free, form, (first, left))
        if layer is not stack.layers[0]:
            if through is None:
                through = np.ones((rows[1] - rows[0], stack.width), np.float32)
                free = through[first - rows[0] : last - rows[0], left : left + width]
            assert free is not None
            free *= 1 - view[..., -1].astype(np.float32) * np.float32(1 / form.opaque)


def _sharpen(
    view: Pixels, edge: Edges, source: Pixels, free: Floats | None, form: Encoding, corner: tuple[int, int]
) -> None:
    """Some rows of one layer. view, source: (h, w, C+1); free: (h, w), what the layers above let through."""
    window = _window(edge, view.shape, corner)
    if window is None:
        return
    guide, below, area = window
    view, source = view[area], source[area]
    at = np.nonzero(guide[..., 0] >= LEAST_TRUST)
    if len(at[0]) == 0:
        return
    _, least, most, doubt, unsure, clear, opaque = guide[at].T.astype(np.float32)
    pixels = view[at]
    drafted = pixels[:, -1].astype(np.float32) * np.float32(1 / form.opaque)
    scale = (1 / (form.high - form.low))[:-1]
    under = below[at].astype(np.float32)
    if form.dtype == np.float16:
        under = under * (form.high - form.low)[:-1] + form.low[:-1]
    across = ((pixels[:, :-1] - under) * scale).T
    along = ((source[at][:, :-1] - under) * scale).T
    contrast = (across * across).sum(0)
    projected = (across * along).sum(0) / np.maximum(contrast, 1e-6)
    stray = (along * along).sum(0) - projected * projected * contrast
    weight = doubt * doubt * contrast
    trust = weight / (weight + unsure * unsure + np.float32(STRAY * DEVIATIONS**2) * np.maximum(stray, 0) + 1e-9)
    if free is not None:
        trust *= smoothstep(free[area][at], *FREE)
    alpha = drafted + (projected - drafted) * trust
    spread = unsure * (1 / DEVIATIONS) / np.sqrt(contrast + 1e-6)
    grain = np.float32(GRAIN / 255) * spread
    alpha = snapped(np.clip(alpha, least * (1 / 255), most * (1 / 255)), grain * clear, grain * opaque)
    alpha = np.nan_to_num(alpha, nan=1.0)
    full = alpha * form.opaque
    view[at[0], at[1], -1] = np.rint(full) if form.integer else full


def _window(
    edge: Edges, shape: tuple[int, ...], corner: tuple[int, int]
) -> tuple[U8, Pixels, tuple[slice, slice]] | None:
    """Guide and below, enlarged over those columns of the rows in which there is any doubt, and where in the view."""
    step = edge.step
    row, column = corner[0] - edge.top * step, corner[1] - edge.left * step
    first, last = row // step, -(-(row + shape[0]) // step)
    guide = edge.guide[first:last]
    doubtful = np.flatnonzero(guide[..., 0].max(0) >= LEAST_TRUST)
    if len(doubtful) == 0:
        return None
    # A pixel more on each side, so that enlarging meets at the seams.
    above, left = max(first - 1, 0), max(int(doubtful[0]) - 2, 0)
    part = np.s_[above : last + 1, left : int(doubtful[-1]) + 3]
    rows = slice(row - above * step, row - above * step + shape[0])
    start = left * step - column
    big = enlarged(np.ascontiguousarray(edge.guide[part]), step, cv2.INTER_LINEAR)
    columns = slice(max(start, 0), min(start + big.shape[1], shape[1]))
    inner = (rows, slice(columns.start - start, columns.stop - start))
    below = enlarged(np.ascontiguousarray(edge.below[part]), step, cv2.INTER_LINEAR)
    return big[inner], below[inner], (slice(None), columns)


def snapped(alpha: Floats, to_clear: Floats | float = 0.0, to_opaque: Floats | float = 0.0) -> Floats:
    """Alpha that is nearly 0 or 1 made exactly that, without a step; the middle is left alone.

    to_clear, to_opaque: how much further from 0, and from 1, still counts as nearly.
    """
    clear = floats(1 - (1 - alpha) * _rise(1 - alpha, to_opaque))
    return floats(clear * _rise(clear, to_clear))


def _rise(values: Floats, further: Floats | float) -> Floats:
    low, high = SNAP
    return smoothstep(floats((values - low - further) / (high - low + 2 * further)), 0, 1)
