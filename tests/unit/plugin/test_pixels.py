"""Pixels as bytes, checked against numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray


@pytest.fixture(autouse=True, scope="module")
def plugin(assembled: Path) -> None:
    """Makes `unflatten` importable."""


DEPTHS = {"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}
spaces = st.sampled_from([(model, depth) for model in ("RGBA", "GRAYA", "CMYKA") for depth in DEPTHS])


def random_pixels(space: tuple[str, str], count: int, seed: int) -> NDArray[Any]:
    """(count, channels), alphas full, clear or in between."""
    rng = np.random.default_rng(seed)
    model, depth = space
    full = np.iinfo(DEPTHS[depth]).max if depth[0] == "U" else 1
    values = rng.random((count, {"RGBA": 4, "GRAYA": 2, "CMYKA": 5}[model])) * full
    values[:, -1] = rng.choice([0, 0.4, 1, 1], count) * full
    return values.astype(DEPTHS[depth])


@given(spaces, st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_opaque_means_every_alpha_is_full(space: tuple[str, str], count: int, seed: int) -> None:
    from unflatten.pixels import Space

    picture, known = random_pixels(space, count, seed), Space(*space)
    full = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    assert known.pixel_size == picture.shape[1] * picture.itemsize
    assert known.is_opaque(bytearray(picture.tobytes())) == bool((picture[:, -1] == full).all())
    picture[:, -1] = full
    assert known.is_opaque(bytearray(picture.tobytes()))


@given(spaces, st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_differences_are_those_of_pixels_that_can_be_seen(space: tuple[str, str], count: int, seed: int) -> None:
    from unflatten.pixels import Difference, Space

    rng, picture, known = np.random.default_rng(seed), random_pixels(space, count, seed), Space(*space)
    other = picture.copy()
    changed = rng.integers(0, count, 3)
    other[changed] = random_pixels(space, 3, seed + 1)
    clear = rng.random(count) < 0.2
    picture[clear, -1] = other[clear, -1] = 0
    found = Difference(known)
    found.add(picture.tobytes(), other.tobytes())
    apart = np.abs(picture.astype(float) - other.astype(float)).max(1)
    apart[(picture[:, -1] == 0) & (other[:, -1] == 0)] = 0
    unit = known.tolerance * (known.range if known.is_floating() else 1)
    assert found.pixels == (apart > unit).sum()
    if apart.max() > unit:
        assert found.largest == pytest.approx(apart.max() / unit)
    else:
        assert found.largest <= 1


def test_lights_above_1_are_compared_by_their_own_size() -> None:
    from unflatten.pixels import Difference, Space

    found = Difference(Space("RGBA", "F32"))
    one, other = np.array([[50, 50, 50, 1]], np.float32), np.array([[50.004, 50, 50, 1]], np.float32)
    found.add(one.tobytes(), other.tobytes())
    assert found.pixels == 0
    assert found.largest < 1


def test_what_is_not_a_number_in_both_is_no_difference() -> None:
    from unflatten.pixels import Difference, Space

    found = Difference(Space("RGBA", "F32"))
    one, other = (np.array([[np.nan, np.inf, blue, 1]], np.float32) for blue in (0.5, 0.6))
    found.add(one.tobytes(), one.tobytes())
    assert found.largest == 0
    found.add(one.tobytes(), other.tobytes())
    assert found.largest == pytest.approx(1000, rel=1e-3)


def test_pictures_of_different_size_are_not_compared() -> None:
    from unflatten.pixels import SRGB8, Difference

    with pytest.raises(ValueError):
        Difference(SRGB8).add(bytes(8), bytes(4))
