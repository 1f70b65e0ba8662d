"""Which of a draft's frames are layers, and which lies over which.

Models hand over a frame with the whole composite among the layers, blank frames full of noise, and layers in an order
that is not guaranteed. All is judged on a small copy, against the picture.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.errors import UselessDraft
from bridge.finish.flatten import in_threads
from bridge.finish.images import Floats, square
from bridge.finish.order import ALIKE, find_order
from bridge.finish.small import ENOUGH, SOLID, WHOLE, SmallDraft
from bridge.finish.specks import is_blank, without_specks
from bridge.picture import Layer, Picture, Stack

FAITHFUL = 1.0
"""Of 255, on average: how far a draft may be from the picture that gives it back; rounding comes to that."""
SAMPLES = 200_000
"""Pixels by which that is judged, about."""
SHOWS_ALL = 0.85
"""Of what other layers show as the picture has it: a whole frame that shows so much of it too is the composite."""
SURROUNDINGS = 7
"""Pixels of the small copy around what is shown, which an honest background could show, too."""
VISIBLE = 0.5
"""The picture's alpha from which a pixel counts."""
STRANGE = 0.5
"""Of the picture: where less of it is shown by any layer the draft is of something else."""
SCRAMBLED = 0.2
"""Of the picture: where so much of it is shown by some layer, but not by the one on top, there is no order."""


@dataclass(frozen=True)
class Sifted:
    """The layers that count, back to front.

    faithful: they have the picture's size, and flattened they are the picture. drift: how far their composite is from
    it (mean, 0–255). notes: what was done, as sentences for the user.
    """

    stack: Stack
    faithful: bool
    drift: float
    notes: list[str]


def sift(draft: Stack, picture: Picture) -> Sifted:
    """Find the layers in a draft of (h, w, 4) uint8 sRGB frames on a canvas of any size. Raises UselessDraft.

    A draft that gives the picture back is believed as it is: only blank layers are left out of it.
    """
    shown = [layer for layer in draft.layers[1:] if not is_blank(layer, draft)]
    believed = replace(draft, layers=(draft.layers[0], *shown))
    drift = _drift_of_faithful(believed, picture)
    if drift is not None:
        return Sifted(believed, True, drift, [])
    kept = [layer for layer in in_threads(without_specks, draft.layers) if not is_blank(layer, draft)]
    blanks = len(draft.layers) - len(kept)
    if not kept:
        raise _useless("Every layer that came back is blank.")
    small = SmallDraft.of(kept, draft, picture)
    notes = [f"Left out, because blank: {blanks} layer{'s' * (blanks > 1)}."] if blanks else []
    shown_by_others, repeats = _repeats(small)
    composites = _spared(small, shown_by_others, repeats)
    if composites:
        small = small.without(composites)
        notes.append("Left out: a frame with the whole picture in it.")
    elif repeats and _stands_out(small, shown_by_others):
        raise _useless(
            "The background that came back is the whole picture: nothing was taken out of it, and the other layers "
            "only repeat parts of it."
        )
    order = find_order(small)
    if order != sorted(order):
        notes.append("The layers came in another order than your picture shows, and were put in order.")
    ordered = small.ordered(order)
    _check_worth(ordered)
    drift = ordered.drift()
    notes.append(
        f"The model’s own layers were {drift:.1f} of 255 off your picture on average; now they give it back exactly."
    )
    return Sifted(replace(draft, layers=_with_kinds(ordered.layers, ordered.is_whole(0))), False, drift, notes)


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


def _with_kinds(layers: tuple[Layer, ...], backed: bool) -> tuple[Layer, ...]:
    """The bottom layer is the background where it covers everything (`backed`), and no other layer is one."""
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


def _repeats(small: SmallDraft) -> tuple[NDArray[np.bool_], set[int]]:
    """What other layers show as the picture has it, and the frames that cover everything and show it too."""
    whole = [k for k in range(len(small.layers)) if small.is_whole(k)]
    shown = np.zeros(small.seen.shape, bool)
    for k in range(len(small.layers)):
        if k not in whole:
            shown |= (small.alphas[k] > SOLID) & (small.errors[k] < ALIKE)
    if np.count_nonzero(shown) < ENOUGH:
        return shown, set()
    return shown, {k for k in whole if (small.errors[k][shown] < ALIKE).mean() >= SHOWS_ALL}


def _spared(small: SmallDraft, shown: NDArray[np.bool_], repeats: set[int]) -> set[int]:
    """Those of the frames `repeats` that are composites: the others cover everything without them."""
    composites = set(repeats)
    while composites and not _can_spare(small, composites):
        # One of them must be the background: the one that shows least of what lies before it.
        composites.remove(max(composites, key=lambda k: float(small.errors[k][shown].mean())))
    return composites


def _can_spare(small: SmallDraft, frames: set[int]) -> bool:
    """Whether something covers everything without them."""
    rest = [1 - alpha for k, alpha in enumerate(small.alphas) if k not in frames]
    covered = 1 - np.prod(rest, axis=0)
    return bool((covered[small.seen > VISIBLE] > SOLID).mean() >= WHOLE)


def _stands_out(small: SmallDraft, shown: NDArray[np.bool_]) -> bool:
    """Whether what is shown there looks unlike its surroundings, so that no honest background could show it too."""
    ring = (cv2.dilate(shown.astype(np.uint8), square(SURROUNDINGS)) > 0) & ~shown
    if not ring.any():
        return True
    inside, around = small.picture[shown], small.picture[ring]
    apart = np.abs(inside.mean(0) - around.mean(0)).max(), np.abs(inside.std(0) - around.std(0)).max()
    return bool(max(apart) > ALIKE / 2)


def _check_worth(small: SmallDraft) -> None:
    """Raise UselessDraft where the ordered layers do not show the picture."""
    visible = small.seen > VISIBLE
    if not visible.any():
        return
    through, shown, shown_by_any = (np.full(small.seen.shape, value, np.float32) for value in (1, 0, 0))
    for alpha, error in zip(reversed(small.alphas), reversed(small.errors), strict=True):
        right = error < 2 * ALIKE
        shown += through * alpha * right
        through *= 1 - alpha
        np.maximum(shown_by_any, alpha * right, out=shown_by_any)
    if float(shown_by_any[visible].mean()) < STRANGE:
        raise _useless("What came back does not show your picture.")
    if float((shown_by_any - shown)[visible].mean()) > SCRAMBLED:
        raise _useless("The layers that came back contradict each other: no order of them shows your picture.")
