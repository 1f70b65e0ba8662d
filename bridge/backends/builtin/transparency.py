"""Pictures with transparency: colours for what cannot be seen, islands that are objects, and layers no denser than
the picture."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Layer
from bridge.pyramid import push_pull

Bytes = NDArray[np.uint8]
LEAST_ISLAND = 0.002  # of the picture
GAP = 0.015  # of the picture's longer side: pieces closer than that belong together, as the letters of a word do


def opaque_colours(view: Bytes) -> Bytes:
    """The colours (H, W, 3) uint8 of `view` (H, W, 4), straight alpha; where it is thin, those around it, for what
    lies there is chance."""
    trust = (view[..., 3] / 255).astype(np.float32)
    colours = push_pull(view[..., :3].astype(np.float32), trust)
    return np.where(view[..., 3:] > 127, view[..., :3], np.rint(colours).clip(0, 255)).astype(np.uint8)


def split_components(view: Bytes, at_most: int) -> list[Layer] | None:
    """The layers of a picture that is islands in transparency, back to front, the first what is left over; None where
    it is not.

    Each island is an object as it is; the smallest stay in the first layer where there are more than `at_most` layers.
    """
    height, width = view.shape[:2]
    alpha = view[..., 3]
    reach = max(1, round(GAP * max(height, width) / 2))
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    joined = cv2.dilate((alpha > 127).astype(np.uint8), square)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    solid = np.bincount(labels[alpha > 127], minlength=count)
    large = [i for i in range(1, count) if solid[i] >= LEAST_ISLAND * alpha.size]
    if len(large) < 2 or at_most < 2:
        return None
    large = sorted(large, key=lambda i: (-int(solid[i]), i))[: at_most - 1]
    rest, layers = view.copy(), list[Layer]()
    for i in large:
        left, top, wide, high = (int(value) for value in stats[i, :4])
        area = np.s_[top : top + high, left : left + wide]
        own = labels[area] == i
        layers.append(Layer("Object", np.where(own[..., None], view[area], np.uint8(0)), left, top, "object"))
        rest[area][own] = 0
    return [Layer("Background", rest, kind="background"), *layers[::-1]]


def limit_alpha(layers: Iterable[Layer], alpha: NDArray[np.uint8]) -> Iterator[Layer]:
    """`layers`, back to front and the first opaque, thinned so that together they are as dense as `alpha` (H, W)
    uint8."""
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
