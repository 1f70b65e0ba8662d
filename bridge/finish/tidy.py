"""Layers an artist would keep: each cropped to what it covers."""

from dataclasses import replace

import numpy as np

from bridge.finish.flatten import in_threads
from bridge.picture import Layer, Stack


def crop_layers(stack: Stack, *, whole_first: bool = False) -> Stack:
    """Each layer cropped to what it covers; layers that cover nothing are left out. whole_first: but not the first.

    The cropped layers are views: nothing is copied.
    """
    first = stack.layers[:1] if whole_first else ()
    cropped = in_threads(_cropped, stack.layers[len(first) :])
    return replace(stack, layers=first + tuple(layer for layer in cropped if layer is not None))


def _cropped(layer: Layer) -> Layer | None:
    there = layer.pixels[..., -1] != 0
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if len(rows) == 0:
        return None
    (y0, y1), (x0, x1) = rows[[0, -1]], columns[[0, -1]]
    # numpy integers in a file or a message are no numbers to json
    pixels = layer.pixels[y0 : y1 + 1, x0 : x1 + 1]
    return replace(layer, pixels=pixels, left=int(layer.left + x0), top=int(layer.top + y0))
