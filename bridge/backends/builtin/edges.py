"""Soft edges corrected by the filled ground: where the fill agrees with what is seen around an object, all that differs
from it is the object."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.backends.builtin.masks import Floats, Mask, grow, shrink
from bridge.backends.builtin.matting import settle
from bridge.pyramid import push_pull

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class EdgeParams:
    """When a fill is trusted, and which pixels are corrected by it. Colours in levels of 255."""

    visible: float = 0.02
    """Alpha from which something of the object is seen."""
    agrees: float = 3.0
    """The ground is known where fill and picture differ by no more than this around the object."""
    apart: float = 24.0
    """Only pixels whose two colours lie this far apart are changed …"""
    unlike: float = 14.0
    """… and only where a mixture of the two explains them to within this."""
    opaque: float = 0.97
    """Alpha from which a pixel is the object's alone …"""
    deep: int = 3
    """… and pixels deeper inside such an area than this are not changed."""


PARAMS = EdgeParams()


def spread_colours(
    image: Bytes, alpha: Floats, *, opaque: float = EdgeParams.opaque, rim_trust: float = 0.05, densest: float = 0.9
) -> Floats:
    """The object's colours (H, W, 3) float32 0…255, continued from where it is opaque to under and beyond its edge.

    image: (H, W, 3) uint8; alpha: (H, W) float32 0…1. opaque: alpha from which a pixel counts as opaque. rim_trust: the
    weight of the outermost of these, which may be mixed. densest: where nothing is opaque, pixels of this share of the
    greatest alpha count.
    """
    inside = alpha >= opaque
    trust = np.where(shrink(inside, 1), 1.0, np.where(inside, rim_trust, 0.0)).astype(np.float32)
    if not trust.any():
        trust = (alpha >= densest * alpha.max()).astype(np.float32)
    return push_pull(image.astype(np.float32), trust)


def settle_edges(
    current: Bytes, underlay: Bytes, alpha: Floats, colours: Floats, hole: Mask, params: EdgeParams = PARAMS
) -> Floats:
    """`alpha` with its edge replaced, where the ground is known, by how far each pixel lies on the way from ground to
    object.

    current, underlay: (H, W, 3) uint8, the picture and its fill; alpha: (H, W) float32 0…1; colours: (H, W, 3)
    float32, the object's; hole: (H, W) bool, what was filled. Returns alpha (H, W) float32.
    """
    seen, under = current.astype(np.float32), underlay.astype(np.float32)
    differs = np.abs(seen - under).max(-1)
    rim = hole & ~grow(alpha > params.visible, 1)
    if not rim.any() or np.median(differs[rim]) > params.agrees:
        return alpha
    way = colours - under
    length = (way * way).sum(-1)
    share = (((seen - under) * way).sum(-1) / np.maximum(length, 1)).clip(0, 1)
    left_over = np.abs(seen - under - share[..., None] * way).max(-1)
    explained = (length > params.apart * params.apart) & (left_over < params.unlike)
    share = np.where(differs <= params.agrees, 0, share)
    edge = hole & ~shrink(alpha > params.opaque, params.deep) & explained
    return settle(np.where(edge, share, alpha).astype(np.float32))
