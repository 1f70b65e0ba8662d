"""Pictures and stacks to save, with every value that a pixel can have."""

import numpy as np
from hypothesis import strategies as st

from bridge.picture import Layer, Picture, Stack

NAMES = ("Background", "Text: ÉTÉ 夏祭り", 'Object 1 (<red> & "blue", lower left)', "⛵ – × …", "a/b\\c:d", "..")


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)


def opaque(seed: int, height: int, width: int) -> np.ndarray:
    pixels = noise(seed, height, width)
    pixels[..., 3] = 255
    return pixels


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Stack, Picture]:
    """A picture of noise, opaque or not, and up to six layers of noise anywhere on it, with awkward names."""
    width, height = draw(st.integers(16, 60)), draw(st.integers(16, 60))
    seed = draw(st.integers(0, 2**16))
    picture = Picture(
        (opaque if draw(st.booleans()) else noise)(seed, height, width), dpi=draw(st.sampled_from([72, 300]))
    )
    layers = [Layer(NAMES[0], opaque(seed + 1, height, width), kind="background")]
    for index in range(draw(st.integers(0, 5))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        w, h = draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
        name = draw(
            st.sampled_from(NAMES) | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1)
        )
        layers.append(Layer(name, noise(seed + 2 + index, h, w), left, top, "object", draw(st.booleans())))
    return Stack(tuple(layers), width, height), picture
