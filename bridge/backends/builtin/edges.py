"""Soft edges settled against the filled ground: where the fill agrees with what is seen around an object, what
differs is the object."""

import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.matting import grow, settle, shrink
from bridge.pyramid import push_pull

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def spread_colours(image: Bytes, alpha: Floats, *, inside: float = 0.97) -> Floats:
    """The object's colours (H, W, 3) float32 0…255, carried from where it is opaque out under and beyond its edge.

    image: (H, W, 3) uint8; alpha: (H, W) float32 0…1. The outermost opaque pixels count little: they may be mixed.
    """
    opaque = alpha >= inside
    trust = np.where(shrink(opaque, 1), 1.0, np.where(opaque, 0.05, 0.0)).astype(np.float32)
    if not trust.any():
        trust = (alpha >= 0.9 * alpha.max()).astype(np.float32)
    return push_pull(image.astype(np.float32), trust)


def settle_edges(
    current: Bytes,
    underlay: Bytes,
    alpha: Floats,
    colours: Floats,
    hole: Mask,
    *,
    agrees: float = 3,
    apart: float = 24,
    unlike: float = 14,
) -> Floats:
    """`alpha` with its edge replaced, where the ground is known, by how far each pixel lies on the way from ground to
    object.

    current, underlay: (H, W, 3) uint8, the picture and its fill; alpha: (H, W) float32 0…1; colours: (H, W, 3)
    float32, the object's; hole: (H, W) bool, what was filled. The ground is known where fill and picture differ by no
    more than `agrees` levels around the object. Only pixels whose two colours lie `apart` levels from each other are
    moved, and only where the mixture explains them to within `unlike` levels. Returns alpha (H, W) float32.
    """
    seen, under = current.astype(np.float32), underlay.astype(np.float32)
    rim = hole & ~grow(alpha > 0.02, 1)
    if not rim.any() or np.median(np.abs(seen - under).max(-1)[rim]) > agrees:
        return alpha
    way = colours - under
    length = (way * way).sum(-1)
    share = (((seen - under) * way).sum(-1) / np.maximum(length, 1)).clip(0, 1)
    left_over = np.abs(seen - under - share[..., None] * way).max(-1)
    explained = (length > apart * apart) & (left_over < unlike)
    share = np.where(np.abs(seen - under).max(-1) <= agrees, 0, share)
    deep = shrink(alpha > 0.97, 3)
    edge = hole & ~deep & explained
    return settle(np.where(edge, share, alpha).astype(np.float32))
