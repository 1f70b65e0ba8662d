"""Taking a layer off a picture so that laying it back gives the picture again, to the bit."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def lift(current: Bytes, underlay: Bytes, alpha: Floats, foreground: Floats, *, rounds: int = 3) -> tuple[Bytes, Bytes]:
    """Split `current` into a layer and what lies under it; the layer over the underlay is `current` again, within
    rounding.

    current, underlay: (H, W, 3) uint8, the picture and a guess at what the layer hides. alpha: (H, W) float32 0…1.
    foreground: (H, W, 3) float32 0…255, a guess at the layer's colours.
    Returns the layer (H, W, 4) uint8, straight alpha, and the underlay (H, W, 3) uint8.

    Compositing is linear, so what the two guesses leave over is shared out by weight (least squares): where the layer
    is thin the underlay takes it, where it is dense the layer does. The underlay is then rounded, and the layer
    solved against it, F = (C − (1−α) U) / α; alpha rises, only where it must, to the least value that keeps F a
    colour.
    """
    target = current.astype(np.float32)
    alpha8 = np.rint(alpha * 255).clip(0, 255)
    weight = (alpha8 / 255)[..., None].astype(np.float32)
    rest = 1 - weight
    colour, under = foreground.clip(0, 255), underlay.astype(np.float32)
    share = weight * weight + rest * rest
    for _ in range(rounds):
        left_over = (target - weight * colour - rest * under) / share
        colour = (colour + weight * left_over).clip(0, 255)
        under = (under + rest * left_over).clip(0, 255)
    under = np.where(weight == 0, target, np.where(weight == 1, underlay, under)).round()
    alpha8 = np.maximum(alpha8, np.where(alpha8 > 0, np.ceil(_least_alpha(target, under) * 255 - 1e-3), 0))
    weight = (alpha8 / 255)[..., None].astype(np.float32)
    colour = (
        np.where(weight > 0, (target - (1 - weight) * under) / np.maximum(weight, 1e-6), foreground)
        .clip(0, 255)
        .round()
    )
    layer = np.dstack([colour, alpha8])
    layer[alpha8 == 0] = 0
    return layer.astype(np.uint8), under.astype(np.uint8)


def _least_alpha(target: Floats, under: Floats) -> Floats:
    """The least alpha (H, W) with which any colour 0…255 over `under` gives `target`."""
    change = target - under
    room = np.where(change > 0, 255 - under, under)
    return (np.abs(change) / np.maximum(room, 1)).max(-1).clip(0, 1)


def over(layer: Bytes, under: Bytes) -> Bytes:
    """`layer` (H, W, 4) composited over the opaque `under` (H, W, 3), rounded to 8 bit."""
    weight = layer[..., 3:].astype(np.float32) / 255
    mixed = layer[..., :3] * weight + under * (1 - weight)
    return np.floor(mixed + 0.5).clip(0, 255).astype(np.uint8)
