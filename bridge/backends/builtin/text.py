"""Lines of text as layers that can be moved: read, cut out of their ground, set together where one paragraph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.glyphs import Lettering, cut_lettering
from bridge.backends.builtin.matting import grow
from bridge.reading import Quad, ReadLine, read_lines

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SALIENT = 0.6
SMALL_TYPE = 0.07  # of the picture's longer side: lower lettering may be print on an object
PRINT_SHARE = 0.3  # of its object that such print covers at most
RUNNING_TEXT = 20  # letters a line, from which lines can be a paragraph


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
        solid = self.alpha >= min(0.9, float(self.alpha.max()))
        return np.median(self.ink[solid], axis=0).astype(np.float32)

    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the canvas that the layer covers."""
        return slice(self.top, self.top + self.alpha.shape[0]), slice(self.left, self.left + self.alpha.shape[1])

    def hole(self, height: int, width: int) -> Mask:
        """(height, width) bool: where the ground under the layer is not to be trusted, fringe and all."""
        mask = np.zeros((height, width), bool)
        mask[self.place()] = self.alpha > 0
        around = max(2, round(0.03 * self.height))
        return grow(mask, min(around, 8))


def find_text(
    rgb: Rgb,
    *,
    protect: Floats | None = None,
    seed: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> list[TextLayer]:
    """The text in `rgb` (H, W, 3) uint8 as layers, from top to bottom: one a line, or one a paragraph of running text.

    protect: (H, W) float32 0…1, what stands out as objects; small print within one stays with it. None: all is taken.
    seed: nothing here is drawn by chance; taken so that all of the splitter's steps are called alike.
    checkpoint: called between steps; may raise to cancel.
    """
    lines = read_lines(rgb, checkpoint)
    layers: list[TextLayer] = []
    for line in lines:
        checkpoint()
        if protect is not None and _is_print_on_object(line, lines, protect):
            continue
        lettering = cut_lettering(rgb, line, [other for other in lines if other is not line])
        if lettering is not None:
            layers.append(_layer(line, lettering))
    return [_together(group) for group in _paragraphs(layers)]


def merge_text(layers: Sequence[TextLayer], at_most: int) -> list[TextLayer]:
    """At most `at_most` (≥ 1) layers: those most alike in size, colour and place are set together first."""
    left = list(layers)
    while len(left) > max(1, at_most):
        a, b = min(combinations(range(len(left)), 2), key=lambda pair: _unlikeness(left[pair[0]], left[pair[1]]))
        both = _together([left[a], left[b]])
        left = [layer for i, layer in enumerate(left) if i not in (a, b)]
        left.insert(a, both)
    return left


def _layer(line: ReadLine, lettering: Lettering) -> TextLayer:
    return TextLayer(line.text, (line,), lettering.left, lettering.top, lettering.alpha, lettering.ink, line.height)


def _is_print_on_object(line: ReadLine, lines: Sequence[ReadLine], protect: Floats) -> bool:
    """Whether the line is small lettering in the midst of something that stands out: a label, a shirt's print."""
    height, width = protect.shape
    if line.height > SMALL_TYPE * max(height, width):
        return False
    box, around, words = (np.zeros((height, width), np.uint8) for _ in range(3))
    cv2.fillPoly(box, [np.rint(line.quad).astype(np.int32)], 1)
    for other in lines:
        cv2.fillPoly(words, [np.rint(other.quad).astype(np.int32)], 1)
    reach = round(0.6 * line.height)
    left, top = np.floor(line.quad.min(0) - reach).clip(0).astype(int)
    right, bottom = np.ceil(line.quad.max(0) + reach).astype(int)
    around[top:bottom, left:right] = 1
    rim = (around > 0) & (words == 0)
    if not rim.any() or protect[box > 0].mean() < SALIENT or protect[rim].mean() < SALIENT:
        return False
    _, labels = cv2.connectedComponents((protect > 0.5).astype(np.uint8))
    object_ = np.bincount(labels[(box > 0) & (labels > 0)], minlength=1).argmax()
    body = labels == object_
    return bool(object_ > 0 and box.sum() < PRINT_SHARE * body.sum())


def _paragraphs(layers: Sequence[TextLayer]) -> list[list[TextLayer]]:
    """Layers in groups: lines of running text that follow each other in one block, everything else on its own."""
    groups: list[list[TextLayer]] = []
    for layer in sorted(layers, key=lambda layer: layer.top):
        block = next((group for group in groups if _follows(group[-1], layer)), None)
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


def _follows(above: TextLayer, below: TextLayer) -> bool:
    """Whether `below` is the next line of the running text that `above` is a line of."""
    a, b = above.lines[-1], below.lines[0]
    size = min(a.height, b.height)
    if len(above.text) < RUNNING_TEXT or max(a.height, b.height) > 1.4 * size or abs(a.angle - b.angle) > 4:
        return False
    if np.abs(above.colour - below.colour).max() > 40:
        return False
    centre_a, centre_b = a.quad.mean(0), b.quad.mean(0)
    pitch = abs(float((centre_b - centre_a)[1]))
    lefts, rights = (abs(float(a.quad[i][0] - b.quad[i][0])) for i in (0, 1))
    aligned = min(lefts, rights, abs(float(centre_a[0] - centre_b[0]))) < 0.8 * size
    return aligned and pitch < 1.5 * max(a.height, b.height)


def _unlikeness(a: TextLayer, b: TextLayer) -> float:
    """How unlike two text layers are: size, colour, and the distance between them in heights of line."""
    size = abs(float(np.log(a.height / b.height)))
    colour = float(np.abs(a.colour - b.colour).max()) / 128
    apart_y = max(a.top - b.top - b.alpha.shape[0], b.top - a.top - a.alpha.shape[0], 0)
    apart_x = max(a.left - b.left - b.alpha.shape[1], b.left - a.left - a.alpha.shape[1], 0)
    return 2 * size + colour + float(np.hypot(apart_x, apart_y)) / (4 * max(a.height, b.height))


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
