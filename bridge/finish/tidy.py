"""Layers an artist would keep: no blank ones, each cropped to what it covers."""

from dataclasses import replace

import numpy as np

from bridge.picture import Layer, Stack

SEEN = 32  # alpha above which a pixel counts: blank plates of the models carry noise below it
LEAST_SHARE = 1e-5  # of the canvas; a smaller layer is a crumb that nobody would look for
LEAST_PIXELS = 12


def drop_blank_layers(stack: Stack) -> Stack:
    """Leave out layers above the first in which next to nothing shows; exactness gives their pixels to the others."""
    least = max(LEAST_PIXELS, LEAST_SHARE * stack.width * stack.height)
    kept = [layer for layer in stack.layers[1:] if np.count_nonzero(layer.pixels[..., 3] > SEEN) >= least]
    return replace(stack, layers=(stack.layers[0], *kept))


def crop_layers(stack: Stack, *, whole_first: bool = False) -> Stack:
    """Each layer cropped to what it covers; layers that cover nothing are left out. whole_first: but not the first."""
    first = stack.layers[:1] if whole_first else ()
    cropped = (_cropped(layer) for layer in stack.layers[len(first) :])
    return replace(stack, layers=first + tuple(layer for layer in cropped if layer is not None))


def _cropped(layer: Layer) -> Layer | None:
    alpha = layer.pixels[..., 3]
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if len(rows) == 0:
        return None
    (y0, y1), (x0, x1) = rows[[0, -1]], columns[[0, -1]]
    pixels = np.ascontiguousarray(layer.pixels[y0 : y1 + 1, x0 : x1 + 1])
    # numpy integers in a file or a message are no numbers to json
    return replace(layer, pixels=pixels, left=int(layer.left + x0), top=int(layer.top + y0))
