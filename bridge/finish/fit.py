"""A draft stack of any size becomes writable layers on the picture's canvas."""

from dataclasses import replace

import cv2
import numpy as np

from bridge.picture import Layer, Picture, Stack

OPAQUE = 250  # models write 251–254 where they mean opaque
CLEAR = 5


def fit_to_canvas(draft: Stack, picture: Picture) -> Stack:
    """The draft at the picture's size: scaled, alphas that are nearly 0 or 255 snapped, the first layer a whole canvas.

    draft: one or more (h, w, 4) uint8 layers, back to front, on a canvas of any size. Returns writable copies.
    """
    layers = [_scaled(layer, draft, picture) for layer in draft.layers]
    for layer in layers:
        alpha = layer.pixels[..., 3]
        alpha[alpha >= OPAQUE] = 255
        alpha[alpha <= CLEAR] = 0
    layers[0] = _as_backdrop(layers[0], picture)
    return Stack(tuple(layers), picture.width, picture.height)


def _scaled(layer: Layer, draft: Stack, picture: Picture) -> Layer:
    if (draft.width, draft.height) == (picture.width, picture.height):
        return replace(layer, pixels=np.array(layer.pixels, np.uint8, order="C"))
    whole = np.zeros((draft.height, draft.width, 4), np.uint8)
    left, top, width, height = layer.rect
    whole[top : top + height, left : left + width] = layer.pixels
    size = (picture.width, picture.height)
    return replace(layer, pixels=cv2.resize(whole, size, interpolation=cv2.INTER_CUBIC), left=0, top=0)


def _as_backdrop(layer: Layer, picture: Picture) -> Layer:
    """The bottom layer on a whole canvas: clear stays clear, so that a cut-out on nothing gets no ground of its own."""
    if layer.rect == (0, 0, picture.width, picture.height):
        return layer
    whole = np.zeros((picture.height, picture.width, 4), np.uint8)
    left, top, width, height = layer.rect
    whole[top : top + height, left : left + width] = layer.pixels
    return replace(layer, pixels=whole, left=0, top=0)
