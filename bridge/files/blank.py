"""Whether a layered file's flattened picture is blank though its layers are not, as some programs leave it."""

from collections.abc import Iterable

import numpy as np

from bridge.files.colour import Samples

MOST_LAYERS = 64
"""Layers that are looked at, from the top."""
CLOSE = 4
"""Levels of 255 by which colours may differ that are the same but for rounding."""


def layers_show_more(layers: Iterable[Samples], colour: Samples, width: int, height: int) -> bool:
    """Whether layers show anything but the one colour that their flattened picture is filled with.

    layers: (h, w, 4) uint8 each, from the top, those that are visible and lie plainly upon one another. colour: (4,)
    uint8. width, height: of the canvas; what lies under a layer that covers it all is not seen.
    """
    for layer in layers:
        if shows_another(layer, colour):
            return True
        if layer.shape[0] >= height and layer.shape[1] >= width and bool((layer[..., 3] == 255).all()):
            return False
    return False


def shows_another(layer: Samples, colour: Samples) -> bool:
    """Whether anything that shows in (h, w, 4) uint8 `layer` differs from `colour`."""
    shown = layer[layer[..., 3] > 0]
    if not len(shown):
        return False
    if colour[3] == 0:
        return True
    # what a faint edge adds to a ground is less than its own colour says
    difference = np.abs(shown[:, :3].astype(int) - colour[:3]).max(1) * shown[:, 3].astype(int) // 255
    return bool((difference > CLOSE).any())
