"""Pictures with transparency: colours for what cannot be seen, separate pieces as objects, and layers that together are
no more opaque than the picture."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import components, grow_square
from bridge.picture import Layer
from bridge.pyramid import push_pull

Bytes = NDArray[np.uint8]

SOLID = 127
"""Alpha of 255 above which a pixel's own colour counts."""


def opaque_colours(view: Bytes) -> Bytes:
    """The colours (H, W, 3) uint8 of `view` (H, W, 4), straight alpha.

    Where the picture is thin they come from around it: a faint pixel's own colour is chance.
    """
    trust = (view[..., 3] / 255).astype(np.float32)
    colours = push_pull(view[..., :3].astype(np.float32), trust)
    return np.where(view[..., 3:] > SOLID, view[..., :3], np.rint(colours).clip(0, 255)).astype(np.uint8)


def split_components(view: Bytes, at_most: int, *, least: float = 0.002, gap: float = 0.015) -> list[Layer] | None:
    """The layers of a picture `view` (H, W, 4) of separate pieces on nothing, back to front; None where it is not one.

    The first is what is left over, and each other one piece; the smallest stay in the first where there would be more
    than `at_most` layers. least: share of the picture that a piece covers. gap: share of its longer side; pieces nearer
    to each other belong together, as the letters of a word do.
    """
    height, width = view.shape[:2]
    solid = view[..., 3] > SOLID
    found = components(grow_square(solid, max(1, round(gap * max(height, width) / 2))))
    area = np.bincount(found.labels[solid], minlength=found.count)
    large = [i for i in range(1, found.count) if area[i] >= least * solid.size]
    if len(large) < 2 or at_most < 2:
        return None
    large = sorted(large, key=lambda i: (-int(area[i]), i))[: at_most - 1]
    rest, layers = view.copy(), list[Layer]()
    for i in large:
        left, top, wide, high = (int(side[i]) for side in (found.left, found.top, found.width, found.height))
        place = np.s_[top : top + high, left : left + wide]
        own = found.labels[place] == i
        layers.append(Layer("Object", np.where(own[..., None], view[place], np.uint8(0)), left, top, "object"))
        rest[place][own] = 0
    return [Layer("Background", rest, kind="background"), *layers[::-1]]


def limit_alpha(layers: Iterable[Layer], alpha: Bytes) -> Iterator[Layer]:
    """`layers`, back to front and the first opaque, thinned so that together they are as opaque as `alpha` (H, W)."""
    back, *front = layers
    wanted = alpha.astype(np.float32) / 255
    through = np.ones_like(wanted)
    thinned: list[Layer] = []
    for layer in front:
        area = np.s_[layer.top : layer.top + layer.pixels.shape[0], layer.left : layer.left + layer.pixels.shape[1]]
        pixels = layer.pixels.copy()
        pixels[..., 3] = np.minimum(pixels[..., 3], alpha[area])
        through[area] *= 1 - pixels[..., 3].astype(np.float32) / 255
        thinned.append(replace(layer, pixels=pixels))
    share = np.where(wanted >= 1, 1, 1 - (1 - wanted) / np.maximum(through, 1e-6)).clip(0, 1)
    pixels = back.pixels.copy()
    pixels[..., 3] = np.rint(share * 255).astype(np.uint8)
    yield replace(back, pixels=pixels)
    yield from thinned
