"""CMYK with transparency keeps it, whatever file it comes in."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.unit.files.opening import opened
from tests.unit.files.samples import TiffPage, psd, tiff
from tests.unit.files.stacks import noise


def inks(dtype: type, alpha_from: int = 0) -> np.ndarray:
    """(40, 52, 5): noise of four inks, and alpha from `alpha_from` to opaque."""
    cmyk = noise(1, 40, 52)
    alpha = np.tile(np.linspace(alpha_from, 255, 52).astype(np.uint8), (40, 1))
    samples = np.dstack([cmyk, alpha])
    return samples if dtype == np.uint8 else samples.astype(np.uint16) * 257


def naive(samples: np.ndarray) -> np.ndarray:
    """RGB in 8 bits of inks that came without a profile."""
    part = samples[..., :4] / np.iinfo(samples.dtype).max
    return 255 * (1 - part[..., :3]) * (1 - part[..., 3:])


def same(pixels: np.ndarray, samples: np.ndarray, near: float) -> None:
    full = np.iinfo(samples.dtype).max
    np.testing.assert_array_equal(pixels[..., 3], samples[..., 4])
    seen = samples[..., 4] > 0.5 * full
    assert np.abs(pixels[..., :3] * (255 / full) - naive(samples))[seen].max() <= near


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
def test_a_tiff(tmp_path: Path, dtype: type, order: Literal["<", ">"], planar: int) -> None:
    samples = inks(dtype)
    page = TiffPage(samples, 5, [2])
    if planar == 2:
        page.tags = {284: (3, [2])}
        size = samples[..., 0].nbytes
        page.tags |= {273: (4, [8 + n * size for n in range(5)]), 279: (4, [size] * 5)}
        page.samples = np.ascontiguousarray(np.moveaxis(samples, 2, 0)).reshape(samples.shape)
    same(opened(tmp_path, tiff(page, order=order)).pixels, samples, 1)


def test_a_tiff_with_premultiplied_inks(tmp_path: Path) -> None:
    samples = inks(np.uint8)
    stored = samples.copy()
    stored[..., :4] = np.rint(samples[..., :4] * (samples[..., 4:] / 255))
    same(opened(tmp_path, tiff(TiffPage(stored, 5, [1]))).pixels, samples, 3)


def test_a_tiff_with_a_spot_colour_beside_cmyk(tmp_path: Path) -> None:
    picture = opened(tmp_path, tiff(TiffPage(inks(np.uint8), 5, [0])))
    assert picture.is_opaque and "left out" in picture.notes[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("version", [1, 2])
def test_a_psd(tmp_path: Path, dtype: type, version: int) -> None:
    samples = inks(dtype, 128)
    full = int(np.iinfo(dtype).max)
    part = samples[..., 4:] / full
    # Photoshop's largest number is no ink, and what is transparent lies over white
    stored = np.rint((full - samples[..., :4].astype(float)) * part + full * (1 - part)).astype(dtype)
    planes = [*(stored[..., band] for band in range(4)), samples[..., 4]]
    same(opened(tmp_path, psd(planes, 4, layer_count=-1, version=version)).pixels, samples, 4)


@pytest.mark.parametrize("mode", [1, 3, 4, 9])
def test_a_psd_with_a_selection_that_was_kept_is_opaque(tmp_path: Path, mode: int) -> None:
    count = {1: 1, 3: 3, 4: 4, 9: 3}[mode]
    planes = [noise(1, 40, 50)[..., n % 4] for n in range(count + 1)]
    assert opened(tmp_path, psd(planes, mode, layer_count=3)).is_opaque
    assert not opened(tmp_path, psd(planes, mode, layer_count=-3)).is_opaque


@pytest.mark.parametrize("mode", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_psd_whose_colours_are_stored_as_they_are(tmp_path: Path, mode: int, dtype: type) -> None:
    """As Krita stores them, where Photoshop lays them over white."""
    count = {1: 1, 3: 3, 4: 4}[mode]
    samples = np.dstack([noise(1, 40, 52), noise(2, 40, 52)])[..., : count + 1].astype(dtype)
    samples *= 257 if dtype == np.uint16 else 1
    clear = opened(tmp_path, psd([samples[..., n] for n in range(count + 1)], mode, layer_count=-1))
    plain = opened(tmp_path, psd([samples[..., n] for n in range(count)], mode))
    np.testing.assert_array_equal(clear.pixels[..., :3], plain.pixels[..., :3])
    np.testing.assert_array_equal(clear.pixels[..., 3], samples[..., count])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_both_ways_in_which_a_tiff_keeps_lab(tmp_path: Path, dtype: type) -> None:
    samples = noise(1, 40, 50)[..., :3].astype(dtype) * (257 if dtype == np.uint16 else 1)
    signed = samples.astype(np.int32)
    signed[..., 1:] = signed[..., 1:] - 128 if dtype == np.uint8 else (signed[..., 1:] - 32_896) * 256 // 257
    one = opened(tmp_path, tiff(TiffPage(samples, 9)))
    other = opened(tmp_path, tiff(TiffPage(signed.astype(dtype), 8)))
    assert np.abs(one.view.astype(int) - other.view).mean() < 0.5
