"""What the eye goes to: U²-Net (small), over the whole picture or closer up."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.inference import Network

WEIGHTS = Path(__file__).parent / "weights" / "u2netp.onnx"
SIDE = 320
"""Pixels a side of what the network sees."""
MEAN = (0.485, 0.456, 0.406)
"""Of the network's training pictures, for red, green and blue 0…1."""
DEVIATION = (0.229, 0.224, 0.225)


@cache
def _network() -> Network:
    return Network(WEIGHTS)


def salience(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much each pixel of `rgb` (H, W, 3) uint8 belongs to what stands out: (H, W) float32 0…1.

    U²-Net (Qin and others, 2020), the 4.6 MB variant, at its own 320×320.
    """
    network = _network()
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small /= max(float(small.max()), 1.0)
    small = (small - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    batch = np.ascontiguousarray(small.transpose(2, 0, 1)[None], dtype=np.float32)
    answer = np.ascontiguousarray(network.run(batch)[0, 0])
    salience = np.asarray(cv2.resize(answer, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
    return salience.clip(0, 1)
