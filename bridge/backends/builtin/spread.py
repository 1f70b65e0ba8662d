"""Known pixels spread smoothly into unknown ones."""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def spread(values: Floats, known: NDArray[np.bool_], *, relaxations: int = 6) -> Floats:
    """`values` (H, W, C) float32 with those outside `known` (H, W) replaced by a smooth continuation of those inside.

    A push-pull pyramid (Gortler and others, The Lumigraph, 1996) whose every level is relaxed towards Laplace's
    equation `relaxations` times, so that a linear gradient is continued as one. All zero where nothing is known.
    """
    weight = known.astype(np.float32)
    levels = [(values * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 2 and not (levels[-1][1] > 0).all():
        colour, share = levels[-1]
        size = ((share.shape[1] + 1) // 2, (share.shape[0] + 1) // 2)
        smaller = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), np.float32)
        lower = np.asarray(cv2.resize(share, size, interpolation=cv2.INTER_AREA), np.float32)
        levels.append((smaller.reshape(*lower.shape, -1), lower))
    colour, share = levels[-1]
    total = max(float(share.sum()), 1e-6)
    out = np.where(share[..., None] > 0, colour / np.maximum(share, 1e-6)[..., None], colour.sum((0, 1)) / total)
    for colour, share in levels[-2::-1]:
        held = (share > 0)[..., None]
        fixed = colour / np.maximum(share, 1e-6)[..., None]
        upper = cv2.resize(out, (share.shape[1], share.shape[0]), interpolation=cv2.INTER_LINEAR)
        out = np.where(held, fixed, upper.reshape(fixed.shape)).astype(np.float32)
        if not held.all():
            for _ in range(relaxations):
                mean = cv2.blur(out, (3, 3), borderType=cv2.BORDER_REFLECT_101).reshape(fixed.shape)
                out = np.where(held, fixed, mean)
    return out.astype(np.float32)
