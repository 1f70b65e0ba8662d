"""The built-in splitter on one page: lines of text first, then objects from the front to the back, and what is left
is the ground."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.backends.base import JobContext, Progress
from bridge.backends.builtin.backend import MOST_LAYERS
from bridge.backends.builtin.cutout import Cutout, cut_out
from bridge.backends.builtin.edges import settle_edges, spread_colours
from bridge.backends.builtin.fill import fill
from bridge.backends.builtin.foreground import estimate_foreground
from bridge.backends.builtin.masks import Mask, grow
from bridge.backends.builtin.objects import find_objects, trusted, working_copy
from bridge.backends.builtin.saliency import salience
from bridge.backends.builtin.text import TextLayer, find_text, merge_text
from bridge.backends.builtin.unblend import lift
from bridge.picture import Layer

Rgb = NDArray[np.uint8]

LOOKS = 2
"""How often objects are looked for: what is hidden behind the first is seen in the picture without them."""
STEPS = 2 + 2 * LOOKS
"""Of progress: two for the text, two for each look."""


@dataclass(frozen=True)
class SplitParams:
    """Which cuts become layers, and how much around them is filled."""

    filled: float = 0.35
    """A shape of which more than this share was filled earlier is no object …"""
    covered: float = 0.5
    """… nor is one of which others cover more than this share."""
    visible: float = 1 / 255
    """Alpha from which a cut leaves a hole."""
    around: int = 250
    """The hole reaches further by the longer side divided by this …"""
    least_around: int = 3
    """… and at least by so many pixels."""
    shared: float = 1.5
    """An edge is corrected by the fill where all cuts together are no more than so many times as opaque as it …"""
    shared_slack: float = 0.02
    """… and this more."""


PARAMS = SplitParams()


@dataclass
class Pace:
    """A limit for slow computers: after `seconds` no new step is begun. Within them the layers never depend on it."""

    job: JobContext
    seconds: float
    began: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        """Whether the time is over. Raises Cancelled."""
        self.job.checkpoint()
        return time.monotonic() - self.began > self.seconds


def split(rgb: Rgb, *, at_most: int, seconds: float, job: JobContext) -> Iterator[Progress | Layer]:
    """Split `rgb` (H, W, 3) uint8 into at most `at_most` (1–10) layers, yielded back to front after the steps that
    find them.

    Each layer over those below gives the picture again, to within rounding; the first is opaque. Past `seconds` it
    stops looking, and says so in the job's notes.
    """
    pace, room = Pace(job, seconds), at_most - 1
    current, front, back = rgb, list[Layer](), list[Layer]()
    if room > 0:
        yield Progress("Reading text", 0, STEPS)
        stands_out = trusted(salience(working_copy(rgb)))
        protect = np.asarray(cv2.resize(stands_out, (rgb.shape[1], rgb.shape[0])), np.float32)
        texts = find_text(rgb, protect=protect, checkpoint=job.checkpoint)
        texts = merge_text(texts, max(1, room // 2)) if texts else texts
        yield Progress("Reading text", 1, STEPS)
        current, front = lift_text(current, texts, job)

    touched = np.zeros(rgb.shape[:2], bool)
    for look in range(LOOKS):
        space = max(room - len(front), 1 if room == 1 and look == 0 else 0) - len(back)
        if space <= 0:
            break
        if pace.late():
            job.notes.append("The time budget ran out: some objects may have stayed in the background.")
            break
        yield Progress("Finding objects", 2 + 2 * look, STEPS)
        cuts, drawn = cut_objects(current, touched, space, job)
        if not cuts:
            break
        yield Progress("Filling the background", 3 + 2 * look, STEPS)
        current, layers, hole = lift_objects(current, cuts, job)
        touched |= hole
        back = layers + back
        if not drawn:  # behind what was taken off a photograph lies a fill, in which there is nothing to be found
            break
    yield Progress("Filling the background", STEPS, STEPS)
    yield Layer("Background", np.dstack([current, np.full(rgb.shape[:2], 255, np.uint8)]), kind="background")
    yield from _fitted(back + front, room)


def lift_text(current: Rgb, texts: list[TextLayer], job: JobContext) -> tuple[Rgb, list[Layer]]:
    """The picture without its text, and the text's layers."""
    height, width = current.shape[:2]
    hole = np.zeros((height, width), bool)
    for text in texts:
        hole |= text.hole(height, width)
    if not hole.any():
        return current, []
    job.checkpoint()
    underlay, rest, layers = fill(current, hole, seed=job.seed), current.copy(), list[Layer]()
    for text in texts:
        place = text.place()
        pixels, rest[place] = lift(rest[place], underlay[place], text.alpha, text.ink)
        layers.append(Layer(f"Text: {' '.join(text.text.split())}", pixels, text.left, text.top, "text"))
    return rest, layers[::-1]


def cut_objects(
    current: Rgb, touched: Mask, at_most: int, job: JobContext, params: SplitParams = PARAMS
) -> tuple[list[Cutout], bool]:
    """Soft cuts of the objects in front, none over another, nothing that is mostly a filled hole; and whether the
    ground is drawn.

    touched: (H, W), what was filled.
    """
    looked = find_objects(current, at_most=MOST_LAYERS, checkpoint=job.checkpoint)
    cuts, taken = list[Cutout](), np.zeros(current.shape[:2], np.float32)
    for shape in looked.shapes:
        job.checkpoint()
        size = (shape.shape[1], shape.shape[0])
        known = cv2.resize(touched.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        if (shape & known).sum() > params.filled * shape.sum():
            continue
        cut = cut_out(current, shape, exact=looked.drawn, seed=job.seed)
        if cut is None:
            continue
        free = np.minimum(cut.alpha, 1 - taken[cut.place])
        if (free > 0.5).sum() < params.covered * (shape.sum() / shape.size) * taken.size:
            continue
        taken[cut.place] += free
        cuts.append(Cutout(free, cut.left, cut.top))
        if len(cuts) == at_most:
            break
    return cuts, looked.drawn


def lift_objects(
    current: Rgb, cuts: list[Cutout], job: JobContext, params: SplitParams = PARAMS
) -> tuple[Rgb, list[Layer], Mask]:
    """The picture without the objects, their layers, and the hole they left."""
    hole, taken = np.zeros(current.shape[:2], bool), np.zeros(current.shape[:2], np.float32)
    for cut in cuts:
        hole[cut.place] |= cut.alpha > params.visible
        taken[cut.place] += cut.alpha
    hole = grow(hole, max(params.least_around, max(current.shape[:2]) // params.around))
    job.checkpoint()
    underlay, rest, layers = fill(current, hole, seed=job.seed), current.copy(), list[Layer]()
    for cut in cuts:
        job.checkpoint()
        seen, under = rest[cut.place], underlay[cut.place]
        own = hole[cut.place] & (taken[cut.place] <= params.shared * cut.alpha + params.shared_slack)
        alpha = settle_edges(seen, under, cut.alpha, spread_colours(seen, cut.alpha), own)
        pixels, rest[cut.place] = lift(seen, under, alpha, estimate_foreground(seen, alpha))
        layers.append(Layer("Object", pixels, cut.left, cut.top, "object"))
    return rest, layers, hole


def _fitted(layers: list[Layer], room: int) -> list[Layer]:
    """`layers` back to front, the last ones composited until no more than `room` are left."""
    while len(layers) > room and len(layers) > 1:
        layers = [*layers[:-2], _merged(layers[-2], layers[-1])]
    return layers


def _merged(below: Layer, above: Layer) -> Layer:
    """One layer that shows what the two show."""
    left, top = min(below.left, above.left), min(below.top, above.top)
    right = max(layer.left + layer.pixels.shape[1] for layer in (below, above))
    bottom = max(layer.top + layer.pixels.shape[0] for layer in (below, above))
    colour, alpha = np.zeros((bottom - top, right - left, 3)), np.zeros((bottom - top, right - left, 1))
    for layer in (below, above):
        area = np.s_[
            layer.top - top : layer.top - top + layer.pixels.shape[0],
            layer.left - left : layer.left - left + layer.pixels.shape[1],
        ]
        pixels = layer.pixels.astype(np.float64)
        share = pixels[..., 3:] / 255
        colour[area] = colour[area] * (1 - share) + pixels[..., :3] * share
        alpha[area] = alpha[area] * (1 - share) + share
    straight = colour / np.maximum(alpha, 1e-6)
    return Layer(
        "Object", np.rint(np.dstack([straight, alpha * 255])).clip(0, 255).astype(np.uint8), left, top, "object"
    )
