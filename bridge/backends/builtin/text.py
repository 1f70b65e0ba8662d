"""Lines of text as layers: read, cut out of their ground, and one layer where they are one paragraph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.glyphs import Lettering, cut_lettering
from bridge.backends.builtin.masks import Floats, Mask, components, grow
from bridge.reading import Quad, ReadLine, read_lines

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class TextParams:
    """What becomes a layer of text, and which lines become one. Sizes in heights of the line, angles in degrees."""

    small_type: float = 0.07
    """Of the picture's longer side: lower lettering may be print on an object …"""
    salient: float = 0.6
    """… where it and its surroundings stand out by this …"""
    print_margin: float = 0.6
    """… which reach so far around it …"""
    print_share: float = 0.3
    """… and it covers no more than this of the object."""
    object_salience: float = 0.5
    """Salience from which a pixel belongs to an object."""
    running_text: int = 20
    """Letters in a line, from which lines can be a paragraph …"""
    size_ratio: float = 1.4
    """… where their sizes are no more unlike than this …"""
    angle: float = 4.0
    """… their angles no more than this …"""
    colour: float = 40.0
    """… and their colours, in levels, no more than this …"""
    aligned: float = 0.8
    """… their left or right ends or their middles no further apart than this …"""
    pitch: float = 1.5
    """… and their lines follow at less than this."""
    merge_size: float = 2.0
    """What makes layers unlike when some must become one: this for each e-fold of size …"""
    merge_colour: float = 1 / 128
    """… this for each level of colour …"""
    merge_distance: float = 0.25
    """… and this for each height of the line between them."""


PARAMS = TextParams()
FRINGE = 0.03
"""Heights of the line: how far around strokes the ground is not trusted …"""
FRINGE_PIXELS = (2, 8)
"""… in pixels at least, and at most."""
SOLID = 0.9
"""Alpha from which strokes are solid."""


@dataclass(frozen=True)
class TextLayer:
    """One or more lines of text, cropped to their strokes.

    text: the words, lines apart by "\\n". lines: what was read, with boxes. height: of a line's box in pixels.
    alpha: (h, w) float32 0…1; ink: (h, w, 3) float32 0…255, the strokes' colours; left, top: canvas pixels.
    """

    text: str
    lines: tuple[ReadLine, ...]
    left: int
    top: int
    alpha: Floats
    ink: Floats
    height: float

    @property
    def boxes(self) -> tuple[Quad, ...]:
        return tuple(line.quad for line in self.lines)

    @property
    def colour(self) -> Floats:
        """(3,) float32 0…255: the median colour of the solid strokes."""
        solid = self.alpha >= min(SOLID, float(self.alpha.max()))
        return np.median(self.ink[solid], axis=0).astype(np.float32)

    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the canvas that the layer covers."""
        return slice(self.top, self.top + self.alpha.shape[0]), slice(self.left, self.left + self.alpha.shape[1])

    def hole(self, height: int, width: int) -> Mask:
        """(height, width) bool: where the ground under the layer is not to be trusted, fringe and all."""
        mask = np.zeros((height, width), bool)
        mask[self.place()] = self.alpha > 0
        least, most = FRINGE_PIXELS
        return grow(mask, min(max(least, round(FRINGE * self.height)), most))


def find_text(
    rgb: Rgb,
    *,
    protect: Floats | None = None,
    checkpoint: Callable[[], None] = lambda: None,
    params: TextParams = PARAMS,
) -> list[TextLayer]:
    """The text in `rgb` (H, W, 3) uint8 as layers, from top to bottom: one a line, or one a paragraph of running text.

    protect: (H, W) float32 0…1, what stands out as objects; small print within one stays with it. None: all is taken.
    checkpoint: called between steps; may raise to cancel.
    """
    lines = read_lines(rgb, checkpoint)
    layers: list[TextLayer] = []
    for line in lines:
        checkpoint()
        if protect is not None and _is_print_on_object(line, lines, protect, params):
            continue
        lettering = cut_lettering(rgb, line, [other for other in lines if other is not line])
        if lettering is not None:
            layers.append(_layer(line, lettering))
    return [_together(group) for group in _paragraphs(layers, params)]


def merge_text(layers: Sequence[TextLayer], at_most: int, params: TextParams = PARAMS) -> list[TextLayer]:
    """At most `at_most` (≥ 1) layers: those most alike in size, colour and place become one first."""
    left = list(layers)
    while len(left) > max(1, at_most):
        pairs = combinations(range(len(left)), 2)
        a, b = min(pairs, key=lambda pair: _unlikeness(left[pair[0]], left[pair[1]], params))
        both = _together([left[a], left[b]])
        left = [layer for i, layer in enumerate(left) if i not in (a, b)]
        left.insert(a, both)
    return left


def _layer(line: ReadLine, lettering: Lettering) -> TextLayer:
    return TextLayer(line.text, (line,), lettering.left, lettering.top, lettering.alpha, lettering.ink, line.height)


def _is_print_on_object(line: ReadLine, lines: Sequence[ReadLine], protect: Floats, params: TextParams) -> bool:
    """Whether the line is small lettering in the midst of something that stands out: a label, a shirt's print."""
    height, width = protect.shape
    if line.height > params.small_type * max(height, width):
        return False
    box, around, words = (np.zeros((height, width), np.uint8) for _ in range(3))
    cv2.fillPoly(box, [np.rint(line.quad).astype(np.int32)], 1)
    for other in lines:
        cv2.fillPoly(words, [np.rint(other.quad).astype(np.int32)], 1)
    reach = round(params.print_margin * line.height)
    left, top = np.floor(line.quad.min(0) - reach).clip(0).astype(int)
    right, bottom = np.ceil(line.quad.max(0) + reach).astype(int)
    around[top:bottom, left:right] = 1
    rim = (around > 0) & (words == 0)
    if not rim.any() or protect[box > 0].mean() < params.salient or protect[rim].mean() < params.salient:
        return False
    labels = components(protect > params.object_salience).labels
    object_ = np.bincount(labels[(box > 0) & (labels > 0)], minlength=1).argmax()
    body = labels == object_
    return bool(object_ > 0 and box.sum() < params.print_share * body.sum())


def _paragraphs(layers: Sequence[TextLayer], params: TextParams) -> list[list[TextLayer]]:
    """Layers in groups: lines of running text that follow each other in one block, everything else on its own."""
    groups: list[list[TextLayer]] = []
    for layer in sorted(layers, key=lambda layer: layer.top):
        block = next((group for group in groups if _follows(group[-1], layer, params)), None)
        if block is not None:
            block.append(layer)
        else:
            groups.append([layer])
    out: list[list[TextLayer]] = []
    for group in groups:
        out += [group] if len(group) > 2 or _runs_into(group) else [[layer] for layer in group]
    return out


def _runs_into(group: Sequence[TextLayer]) -> bool:
    """Whether the second of two lines goes on with the first one's sentence."""
    return len(group) == 2 and group[1].text[:1].islower()


def _follows(above: TextLayer, below: TextLayer, params: TextParams) -> bool:
    """Whether `below` is the next line of the running text that `above` is a line of."""
    a, b = above.lines[-1], below.lines[0]
    low, high = min(a.height, b.height), max(a.height, b.height)
    if len(above.text) < params.running_text or high > params.size_ratio * low or abs(a.angle - b.angle) > params.angle:
        return False
    if np.abs(above.colour - below.colour).max() > params.colour:
        return False
    centre_a, centre_b = a.quad.mean(0), b.quad.mean(0)
    pitch = abs(float((centre_b - centre_a)[1]))
    lefts, rights = (abs(float(a.quad[i][0] - b.quad[i][0])) for i in (0, 1))
    aligned = min(lefts, rights, abs(float(centre_a[0] - centre_b[0]))) < params.aligned * low
    return aligned and pitch < params.pitch * high


def _unlikeness(a: TextLayer, b: TextLayer, params: TextParams) -> float:
    """How unlike two text layers are: in size, in colour, and by the distance between them."""
    size = abs(float(np.log(a.height / b.height)))
    colour = float(np.abs(a.colour - b.colour).max())
    apart_y = max(a.top - b.top - b.alpha.shape[0], b.top - a.top - a.alpha.shape[0], 0)
    apart_x = max(a.left - b.left - b.alpha.shape[1], b.left - a.left - a.alpha.shape[1], 0)
    distance = float(np.hypot(apart_x, apart_y)) / max(a.height, b.height)
    return params.merge_size * size + params.merge_colour * colour + params.merge_distance * distance


def _together(group: Sequence[TextLayer]) -> TextLayer:
    """One layer that shows what the group's layers show, the later over the earlier."""
    if len(group) == 1:
        return group[0]
    left, top = min(layer.left for layer in group), min(layer.top for layer in group)
    right = max(layer.left + layer.alpha.shape[1] for layer in group)
    bottom = max(layer.top + layer.alpha.shape[0] for layer in group)
    alpha, ink = (
        np.zeros((bottom - top, right - left), np.float32),
        np.zeros((bottom - top, right - left, 3), np.float32),
    )
    for layer in group:
        rows, columns = layer.place()
        here = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        under = alpha[here] * (1 - layer.alpha)
        whole = layer.alpha + under
        mixed = layer.ink * layer.alpha[..., None] + ink[here] * under[..., None]
        ink[here] = np.where(whole[..., None] > 0, mixed / np.maximum(whole, 1e-6)[..., None], layer.ink)
        alpha[here] = whole
    lines = tuple(line for layer in group for line in layer.lines)
    text = "\n".join(layer.text for layer in group)
    return TextLayer(text, lines, left, top, alpha, ink, max(layer.height for layer in group))
