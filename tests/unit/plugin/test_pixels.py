"""Pixels as bytes, checked against numpy."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pixels = st.integers(1, 300).flatmap(
    lambda count: st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).integers(0, 256, (count, 4)).astype(np.uint8)
    )
)


@pytest.fixture(autouse=True, scope="module")
def plugin(assembled: Path) -> None:
    """Makes `unflatten` importable."""


@given(pixels)
def test_opaque_means_every_alpha_is_full(picture: NDArray[np.uint8]) -> None:
    from unflatten.pixels import is_opaque

    assert is_opaque(bytearray(picture.tobytes())) == bool((picture[:, 3] == 255).all())
    picture[:, 3] = 255
    assert is_opaque(bytearray(picture.tobytes()))


@given(pixels, st.integers(0, 2**32 - 1))
def test_differences_are_those_of_pixels_that_can_be_seen(picture: NDArray[np.uint8], seed: int) -> None:
    from unflatten.pixels import Difference

    rng = np.random.default_rng(seed)
    other = picture.copy()
    changed = rng.integers(0, len(picture), 3)
    other[changed] = rng.integers(0, 256, (3, 4))
    clear = rng.random(len(picture)) < 0.2
    picture[clear, 3] = other[clear, 3] = 0
    found = Difference()
    found.add(picture.tobytes(), other.tobytes())
    apart = np.abs(picture.astype(int) - other).max(1)
    apart[(picture[:, 3] == 0) & (other[:, 3] == 0)] = 0
    assert (found.largest, found.pixels) == (apart.max(), (apart > 0).sum())


def test_pictures_of_different_size_are_not_compared() -> None:
    from unflatten.pixels import Difference

    with pytest.raises(ValueError):
        Difference().add(bytes(8), bytes(4))
