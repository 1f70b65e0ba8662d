"""Which of a draft's frames are layers, and which lies over which.

Models hand over a frame with the whole composite among the layers, blank plates full of noise, and layers in an order
that is not guaranteed. All is judged on a small copy, against the picture: where two layers overlap, the upper one is
the one that is seen.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.errors import UselessDraft
from bridge.finish.flatten import in_threads
from bridge.finish.images import Floats, floats, mean_of_channels, split, towards
from bridge.picture import Layer, Picture, Stack

U8 = NDArray[np.uint8]
OPAQUE = 250  # models write 251–254 where they mean opaque
MOST_SAMPLES = 5_000
LOOKED_AT = 250_000  # pixels of the small copy, about
SEEN = 32  # of 255: blank plates carry noise below it
SPECK = 4  # draft pixels
SPECK_REACH = 12
LEAST_SHARE = 1e-5  # of the canvas; a smaller layer is a crumb that nobody would look for
LEAST_PIXELS = 12
WHOLE = 0.98  # of the canvas: a frame that is opaque there is a background or the composite
ALIKE = 24 / 255
"""Two colours nearer than this may be the same one, drifted."""
MOST_SHIFT = 32 / 255  # models' colours drift by less
FAR = 64 / 255  # a difference beyond it says no more than this one
SHOWS_ALL = 0.85
"""Of what other layers show as the picture has it: a whole frame that shows so much of it too is the composite."""
SURE = 30.0  # pixels, to judge by
TOLD = 10.0  # pixels' worth of evidence that one layer lies over another
THERE = 0.1  # alpha
SCRAMBLED = 0.2
"""Of the picture: where so much of it is shown by some layer, but not by the one on top, there is no order."""
SAMPLES = 200_000
FAITHFUL = 1.0  # of 255, on average: what rounding and a splitter's own tolerances come to
STRANGE = 0.5
"""Of the picture: where less of it is shown by any layer the draft is of something else."""


@dataclass(frozen=True)
class Sifted:
    """The layers that count, back to front.

    faithful: they have the picture's size, and laid over each other they are the picture. drift: how far their
    composite is from it (mean, 0–255). notes: what was done, as sentences for the user.
    """

    stack: Stack
    faithful: bool
    drift: float
    notes: list[str]


def sift(draft: Stack, picture: Picture) -> Sifted:
    """Sort a draft of (h, w, 4) uint8 sRGB layers on a canvas of any size out. Raises UselessDraft.

    A draft that gives the picture back is believed as it is: only blank layers are left out of it.
    """
    shown = [layer for layer in draft.layers[1:] if not _is_blank(layer, draft)]
    believed = replace(draft, layers=(draft.layers[0], *shown))
    drift = _drift_of_faithful(believed, picture)
    if drift is not None:
        return Sifted(believed, True, drift, [])
    kept = [layer for layer in in_threads(without_specks, draft.layers) if not _is_blank(layer, draft)]
    blanks = len(draft.layers) - len(kept)
    if not kept:
        raise _useless("Every layer that came back is blank.")
    small = _Small(kept, draft, picture)
    notes = [f"Left out, because blank: {blanks} layer{'s' * (blanks > 1)}."] if blanks else []
    composites = small.composites()
    if composites:
        small = small.without(composites)
        notes.append("Left out: a frame with the whole picture in it.")
    elif small.has_picture_for_background():
        raise _useless(
            "The background that came back is the whole picture: nothing was taken out of it, and the other layers "
            "only repeat parts of it."
        )
    order = small.order()
    if order != sorted(order):
        notes.append("The layers came in another order than your picture shows, and were put in order.")
    ordered = small.ordered(order)
    ordered.check_worth()
    drift = ordered.drift()
    notes.append(
        f"The model’s own layers were {drift:.1f} of 255 off your picture on average; now they give it back exactly."
    )
    return Sifted(replace(draft, layers=_with_kinds(ordered.layers, ordered.is_backed())), False, drift, notes)


def _drift_of_faithful(draft: Stack, picture: Picture) -> float | None:
    """How far a draft of the picture's size is from it, by a sample of its pixels; None where it is another."""
    if (draft.width, draft.height) != (picture.width, picture.height):
        return None
    step = max(1, int((draft.width * draft.height / SAMPLES) ** 0.5))
    wanted = picture.view[::step, ::step].astype(np.float32)
    flat = np.zeros_like(wanted)
    for layer in draft.layers:
        _lay_sample(flat, layer, step)
    wanted[..., :3] *= wanted[..., 3:] * np.float32(1 / 255)
    off = float(np.abs(flat - wanted).mean())
    return off if off <= FAITHFUL else None


def _lay_sample(flat: Floats, layer: Layer, step: int) -> None:
    """Lay every few pixels of `layer` over `flat` (h, w, 4) premultiplied, in place."""
    left, top, _, _ = layer.rect
    row, column = -(-top // step), -(-left // step)
    pixels = layer.pixels[row * step - top :: step, column * step - left :: step].astype(np.float32)
    if pixels.size == 0:
        return
    part = flat[row : row + pixels.shape[0], column : column + pixels.shape[1]]
    share = pixels[..., 3:] * np.float32(1 / 255)
    pixels[..., :3] *= share
    part *= 1 - share
    part += pixels


def _with_kinds(layers: list[Layer], backed: bool) -> tuple[Layer, ...]:
    """The bottom layer is the background where it covers everything, and no other layer is one."""
    return tuple(
        replace(layer, kind="background")
        if index == 0 and backed
        else replace(layer, kind="object")
        if layer.kind == "background"
        else layer
        for index, layer in enumerate(layers)
    )


def _useless(message: str) -> UselessDraft:
    return UselessDraft(
        message, "Your picture is unchanged. Try another number of layers or another seed, or the built-in splitter."
    )


def without_specks(layer: Layer) -> Layer:
    """The layer without faint or tiny specks far from everything else in it: noise, or crumbs of its neighbours."""
    alpha = layer.pixels[..., 3]
    there = (alpha > SEEN).view(np.uint8)
    if there.all():
        return layer
    count, labels, stats, _ = cv2.connectedComponentsWithStats(there, connectivity=8)
    if count <= 2:
        return layer
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(sizes <= SPECK)
    if len(small) == 0 or len(small) == len(sizes):
        return layer
    # Type has dots, hair has ends: what lies near something larger belongs to it.
    marks: NDArray[np.intp] = np.asarray(labels, np.intp)
    is_large: NDArray[np.bool_] = np.append(False, sizes > SPECK)
    large = is_large[marks].astype(np.uint8)
    near = cv2.dilate(large, np.ones((2 * SPECK_REACH + 1,) * 2, np.uint8)) > 0
    specks = there.astype(bool) & ~is_large[marks] & ~near
    if not specks.any():
        return layer
    around = cv2.dilate(specks.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    pixels = layer.pixels.copy()
    pixels[around & (near == 0), 3] = 0
    return replace(layer, pixels=pixels)


def _is_blank(layer: Layer, draft: Stack) -> bool:
    least = max(LEAST_PIXELS, LEAST_SHARE * draft.width * draft.height)
    return bool(np.count_nonzero(layer.pixels[..., 3] > SEEN) < least)


class _Small:
    """Small copies of the layers and the picture: colours (h, w, 3) and alphas (h, w) float32 0–1."""

    def __init__(self, layers: list[Layer], draft: Stack, picture: Picture) -> None:
        scale = min(1.0, (LOOKED_AT / (draft.width * draft.height)) ** 0.5)
        size = (max(1, round(draft.width * scale)), max(1, round(draft.height * scale)))
        self.layers = layers
        *colours, self.seen = split(_small_view(picture.view, size).astype(np.float32) * np.float32(1 / 255))
        self.picture = floats(cv2.merge(colours))
        pairs = in_threads(lambda layer: _shrunk(layer, draft, size), layers)
        self.colours, self.alphas = [colour for colour, _ in pairs], [alpha for _, alpha in pairs]
        self.shifts = in_threads(lambda pair: self._shift(*pair), pairs)
        self.errors = [self._error(colour, shift) for colour, shift in zip(self.colours, self.shifts, strict=True)]

    def without(self, some: set[int]) -> "_Small":
        return self.ordered([index for index in range(len(self.layers)) if index not in some])

    def ordered(self, order: list[int]) -> "_Small":
        other = object.__new__(_Small)
        other.picture, other.seen = self.picture, self.seen
        for name in ("layers", "colours", "alphas", "shifts", "errors"):
            setattr(other, name, [getattr(self, name)[index] for index in order])
        return other

    def _shift(self, colour: Floats, alpha: Floats) -> Floats:
        """(3,) what has to be added to a layer's colours, overall, so that they are the picture's."""
        differences = split(self.picture - colour)
        trusted = alpha > 0.9
        for difference in differences:
            trusted &= np.abs(difference) < FAR
        some = np.flatnonzero(trusted)
        if len(some) <= SURE:
            return np.zeros(3, np.float32)
        some = some[:: 1 + len(some) // MOST_SAMPLES]
        shift = np.array([np.median(difference.ravel()[some]) for difference in differences], np.float32)
        return shift.clip(-MOST_SHIFT, MOST_SHIFT)

    def _error(self, colour: Floats, shift: Floats) -> Floats:
        """How far each pixel of a layer is from the picture, (h, w), after its shift."""
        differences = split(self.picture - colour)
        off = sum(
            (np.abs(difference - each) for difference, each in zip(differences, shift, strict=True)),
            np.zeros_like(self.seen),
        )
        return off * np.float32(1 / 3)

    def composites(self) -> set[int]:
        """Frames that cover everything and show what the other layers show, as far as they can be spared."""
        shown, repeats = self._repeats()
        while repeats and not self._can_spare(repeats):
            # One of them must be the background: the one that shows least of what lies before it.
            repeats.remove(max(repeats, key=lambda k: float(self.errors[k][shown].mean())))
        return repeats

    def has_picture_for_background(self) -> bool:
        """Whether the one frame that covers everything shows what the other layers show."""
        shown, repeats = self._repeats()
        return bool(repeats) and self._stands_out(shown)

    def _repeats(self) -> tuple[NDArray[np.bool_], set[int]]:
        """What other layers show as the picture has it, and the frames that cover everything and show it too."""
        whole = [k for k in range(len(self.layers)) if self._is_whole(k)]
        shown = np.zeros(self.seen.shape, bool)
        for k in range(len(self.layers)):
            if k not in whole:
                shown |= (self.alphas[k] > 0.9) & (self.errors[k] < ALIKE)
        if np.count_nonzero(shown) < SURE:
            return shown, set()
        return shown, {k for k in whole if (self.errors[k][shown] < ALIKE).mean() >= SHOWS_ALL}

    def _can_spare(self, frames: set[int]) -> bool:
        """Whether something covers everything without them."""
        rest = [1 - alpha for k, alpha in enumerate(self.alphas) if k not in frames]
        covered = 1 - np.prod(rest, axis=0)
        return bool((covered[self.seen > 0.5] > 0.9).mean() >= WHOLE)

    def _stands_out(self, shown: NDArray[np.bool_]) -> bool:
        """Whether what is shown there looks unlike its surroundings, so that no honest background could show it too."""
        ring = cv2.dilate(shown.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool) & ~shown
        if not ring.any():
            return True
        inside, around = self.picture[shown], self.picture[ring]
        apart = np.abs(inside.mean(0) - around.mean(0)).max(), np.abs(inside.std(0) - around.std(0)).max()
        return bool(max(apart) > ALIKE / 2)

    def order(self) -> list[int]:
        """Back to front.

        Pairs are settled by evidence, the strongest first, as long as they make no circle (Tideman's ranked pairs).
        Where there is none, a layer lies over one that covers everything, and all else stays where it was.
        """
        count = len(self.layers)
        evidence = np.zeros((count, count))
        for i in range(count):
            for j in range(i + 1, count):
                evidence[i, j] = self._evidence(i, j)
        pairs = [(abs(evidence[i, j]), i, j) for i in range(count) for j in range(i + 1, count)]
        above = np.zeros((count, count), bool)  # above[i, j]: i lies over j, also through others
        for weight, i, j in sorted(pairs, key=lambda pair: -pair[0]):
            upper, lower = (i, j) if evidence[i, j] > 0 else (j, i)
            if weight < TOLD:
                if self._is_whole(i) == self._is_whole(j):
                    continue
                upper, lower = (j, i) if self._is_whole(i) else (i, j)
            if not above[lower, upper]:
                over, under = above[:, upper] | _only(upper, count), above[lower] | _only(lower, count)
                above |= over[:, None] & under[None]
        left, order = list(range(count)), list[int]()
        while left:
            bottom = next(k for k in left if not above[k, left].any())
            order.append(bottom)
            left.remove(bottom)
        return order

    def _is_whole(self, layer: int) -> bool:
        """Whether the layer covers all of the canvas."""
        return bool((self.alphas[layer] > 0.9).mean() >= WHOLE)

    def _evidence(self, i: int, j: int) -> float:
        """Pixels' worth of evidence that layer i lies over layer j: which of the two ways the picture shows."""
        both = np.minimum(self.alphas[i], self.alphas[j]) > THERE
        rows, columns = np.flatnonzero(both.any(1)), np.flatnonzero(both.any(0))
        if len(rows) == 0 or np.count_nonzero(both) < TOLD:
            return 0.0
        area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        as_told, otherwise = self._laid(i, j, area), self._laid(j, i, area)
        margin = np.minimum(otherwise, FAR) - np.minimum(as_told, FAR)
        return float((both[area] * (np.minimum(as_told, otherwise) < ALIKE) * margin).sum()) / FAR

    def _laid(self, upper: int, lower: int, area: tuple[slice, slice]) -> Floats:
        """How far the picture is from `upper` over `lower` over the picture itself, (h, w)."""
        picture = self.picture[area]
        flat = picture.copy()
        for layer in (lower, upper):
            shifted = floats(self.colours[layer][area] + self.shifts[layer])
            towards(flat, shifted, self.alphas[layer][area])
        return mean_of_channels(np.abs(flat - picture))

    def is_backed(self) -> bool:
        """Whether the bottom layer covers all of the picture."""
        return self._is_whole(0)

    def check_worth(self) -> None:
        """Raise UselessDraft where the ordered layers do not show the picture."""
        visible = self.seen > 0.5
        if not visible.any():
            return
        through, shown, shown_by_any = (np.full(self.seen.shape, value, np.float32) for value in (1, 0, 0))
        for alpha, error in zip(reversed(self.alphas), reversed(self.errors), strict=True):
            right = error < 2 * ALIKE
            shown += through * alpha * right
            through *= 1 - alpha
            np.maximum(shown_by_any, alpha * right, out=shown_by_any)
        if float(shown_by_any[visible].mean()) < STRANGE:
            raise _useless("What came back does not show your picture.")
        if float((shown_by_any - shown)[visible].mean()) > SCRAMBLED:
            raise _useless("The layers that came back contradict each other: no order of them shows your picture.")

    def drift(self) -> float:
        """Mean difference between the layers as they came, laid over each other, and the picture; 0–255."""
        flat = self.picture.copy()
        for colour, alpha in zip(self.colours, self.alphas, strict=True):
            towards(flat, colour, alpha)
        off = mean_of_channels(np.abs(flat - self.picture)) * self.seen
        return 255 * float(off.sum()) / max(float(self.seen.sum()), 1e-6)


def _only(index: int, count: int) -> NDArray[np.bool_]:
    return np.arange(count) == index


def _shrunk(layer: Layer, draft: Stack, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Colour and alpha of a layer on the small canvas; models mean 1 by alphas of 250 and more."""
    whole = layer.pixels
    if layer.rect != (0, 0, draft.width, draft.height):
        whole = np.zeros((draft.height, draft.width, 4), np.uint8)
        left, top, width, height = layer.rect
        whole[top : top + height, left : left + width] = layer.pixels
    *colour, alpha = split(cv2.resize(whole, size, interpolation=cv2.INTER_AREA).astype(np.float32))
    return floats(cv2.merge(colour)) * np.float32(1 / 255), np.minimum(alpha * np.float32(1 / OPAQUE), 1)


def _small_view(view: U8, size: tuple[int, int]) -> U8:
    """The picture at `size`: by a whole number first, which is many times faster, then by what is left."""
    step = max(1, min(view.shape[1] // size[0], view.shape[0] // size[1]))
    height, width = view.shape[0] // step, view.shape[1] // step
    coarse = cv2.resize(view[: height * step, : width * step], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.uint8)
