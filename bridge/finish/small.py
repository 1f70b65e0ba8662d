"""Small copies of a draft's layers and of the picture, on which a draft is judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.finish.flatten import in_threads
from bridge.finish.images import Floats, floats, mean_of_channels, split, towards
from bridge.picture import Layer, Picture, Stack

U8 = NDArray[np.uint8]

PIXELS = 250_000
"""Of a small copy, about."""
OPAQUE_FROM = 250
"""Alpha of 255; models write 251–254 where they mean opaque."""
SOLID = 0.9
"""Alpha from which a pixel is the layer's alone."""
WHOLE = 0.98
"""Of the canvas: a layer that is opaque there covers everything."""
FAR = 64 / 255
"""A difference beyond this says no more than this one."""
MOST_SHIFT = 32 / 255
"""Models' colours drift by less."""
ENOUGH = 30
"""Pixels, to judge by."""
MOST_SAMPLES = 5_000
"""Pixels that a layer's shift is read from, about."""


@dataclass(frozen=True)
class SmallDraft:
    """Layers back to front, and small copies of them.

    picture: (h, w, 3) float32 0–1; seen: (h, w) its alpha. colours, alphas: each layer's, (h, w, 3) and (h, w) 0–1.
    shifts: (3,) what has to be added to a layer's colours, overall, so that they are the picture's. errors: (h, w) how
    far each pixel of a layer is from the picture, after its shift.
    """

    layers: tuple[Layer, ...]
    picture: Floats
    seen: Floats
    colours: tuple[Floats, ...]
    alphas: tuple[Floats, ...]
    shifts: tuple[Floats, ...]
    errors: tuple[Floats, ...]

    @staticmethod
    def of(layers: Sequence[Layer], draft: Stack, picture: Picture) -> "SmallDraft":
        """`layers` (h, w, 4) uint8 of `draft`, beside the picture."""
        scale = min(1.0, (PIXELS / (draft.width * draft.height)) ** 0.5)
        size = (max(1, round(draft.width * scale)), max(1, round(draft.height * scale)))
        *channels, seen = split(_small_view(picture.view, size).astype(np.float32) * np.float32(1 / 255))
        goal = floats(cv2.merge(channels))
        pairs = in_threads(lambda layer: _shrunk(layer, draft, size), layers)
        shifts = in_threads(lambda pair: _shift(goal, *pair), pairs)
        errors = [_error(goal, colour, shift) for (colour, _), shift in zip(pairs, shifts, strict=True)]
        colours, alphas = tuple(colour for colour, _ in pairs), tuple(alpha for _, alpha in pairs)
        return SmallDraft(tuple(layers), goal, seen, colours, alphas, tuple(shifts), tuple(errors))

    def without(self, some: set[int]) -> "SmallDraft":
        """The same without some layers."""
        return self.ordered([index for index in range(len(self.layers)) if index not in some])

    def ordered(self, order: Sequence[int]) -> "SmallDraft":
        """The same with its layers in another order; those not named are left out."""
        return replace(
            self,
            layers=tuple(self.layers[index] for index in order),
            colours=tuple(self.colours[index] for index in order),
            alphas=tuple(self.alphas[index] for index in order),
            shifts=tuple(self.shifts[index] for index in order),
            errors=tuple(self.errors[index] for index in order),
        )

    def is_whole(self, layer: int) -> bool:
        """Whether the layer covers all of the canvas."""
        return bool((self.alphas[layer] > SOLID).mean() >= WHOLE)

    def drift(self) -> float:
        """Mean difference between the flattened layers, as they came, and the picture; 0–255."""
        flat = self.picture.copy()
        for colour, alpha in zip(self.colours, self.alphas, strict=True):
            towards(flat, colour, alpha)
        off = mean_of_channels(np.abs(flat - self.picture)) * self.seen
        return 255 * float(off.sum()) / max(float(self.seen.sum()), 1e-6)


def _shift(picture: Floats, colour: Floats, alpha: Floats) -> Floats:
    """A layer's shift, (3,); see SmallDraft."""
    differences = split(picture - colour)
    trusted = alpha > SOLID
    for difference in differences:
        trusted &= np.abs(difference) < FAR
    some = np.flatnonzero(trusted)
    if len(some) <= ENOUGH:
        return np.zeros(3, np.float32)
    some = some[:: 1 + len(some) // MOST_SAMPLES]
    shift = np.array([np.median(difference.ravel()[some]) for difference in differences], np.float32)
    return shift.clip(-MOST_SHIFT, MOST_SHIFT)


def _error(picture: Floats, colour: Floats, shift: Floats) -> Floats:
    """A layer's distance from the picture, (h, w); see SmallDraft."""
    differences = split(picture - colour)
    off = np.zeros(picture.shape[:2], np.float32)
    for difference, each in zip(differences, shift, strict=True):
        off = off + np.abs(difference - each)
    return floats(off * np.float32(1 / len(differences)))


def _shrunk(layer: Layer, draft: Stack, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Colour and alpha of a layer on the small canvas."""
    whole = layer.pixels
    if layer.rect != (0, 0, draft.width, draft.height):
        whole = np.zeros((draft.height, draft.width, 4), np.uint8)
        left, top, width, height = layer.rect
        whole[top : top + height, left : left + width] = layer.pixels
    *colour, alpha = split(cv2.resize(whole, size, interpolation=cv2.INTER_AREA).astype(np.float32))
    return floats(cv2.merge(colour)) * np.float32(1 / 255), np.minimum(alpha * np.float32(1 / OPAQUE_FROM), 1)


def _small_view(view: U8, size: tuple[int, int]) -> U8:
    """The picture at `size`: by a whole number first, which is many times faster, then by what is left."""
    step = max(1, min(view.shape[1] // size[0], view.shape[0] // size[1]))
    height, width = view.shape[0] // step, view.shape[1] // step
    coarse = cv2.resize(view[: height * step, : width * step], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.uint8)
