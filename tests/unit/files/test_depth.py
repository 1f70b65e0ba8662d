"""Pictures of more than 8 bits a channel: what they become, and that they come back as they were saved."""

import io
import json
import zipfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage

from bridge.files.openraster import write_openraster
from bridge.files.png import write_folder
from bridge.files.psd import write_psd
from bridge.files.raster import eight_bits
from bridge.files.sheet import contact_sheet
from bridge.finish.encoding import encoding
from bridge.finish.exact import make_exact
from bridge.finish.fit import Fitted
from bridge.finish.flatten import flatten
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.opening import opened, refused
from tests.unit.files.samples import WIDE, TiffPage, chunk, deep, deep_png, kra, psd, saved, tiff, with_chunks
from tests.unit.files.stacks import noise, opaque

FULL = 65_535


def rgba(samples: np.ndarray) -> np.ndarray:
    """Grey or RGB samples, with alpha or without, as RGBA."""
    alpha = samples[..., -1:] if samples.shape[2] in (2, 4) else np.full_like(samples[..., :1], FULL)
    colours = samples[..., : 1 if samples.shape[2] < 3 else 3]
    return np.dstack([np.repeat(colours, 3, 2) if colours.shape[2] == 1 else colours, alpha])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("form", ["png", "tiff", "big-endian", "psd", "psb"])
def test_16_bits_come_in_to_the_bit(tmp_path: Path, form: str, channels: int) -> None:
    samples = deep(1, 40, 50, channels)
    clear = channels in (2, 4)
    if form == "png":
        data = deep_png(samples)
    elif form in ("tiff", "big-endian"):
        page = TiffPage(samples, 1 if channels < 3 else 2, [2] if clear else [])
        data = tiff(page, order="<" if form == "tiff" else ">")
    else:
        if clear:
            samples[..., -1] = FULL  # a transparent one is stored over white
        planes = [samples[..., band] for band in range(channels)]
        data = psd(planes, 1 if channels < 3 else 3, layer_count=-1, version=1 if form == "psd" else 2)
    picture = opened(tmp_path, data)
    np.testing.assert_array_equal(picture.pixels, rgba(samples))
    assert picture.pixels.dtype == np.uint16 and picture.model == "RGBA" and picture.notes == ()
    assert np.abs(picture.view.astype(float) - rgba(samples) / 257).max() <= 0.5


def test_a_profile_of_a_16_bit_picture_is_kept_and_its_view_goes_through_it(tmp_path: Path) -> None:
    samples = deep(1, 40, 50)
    samples[:20] = (0, 50_000, 0, FULL)
    picture = opened(tmp_path, deep_png(samples, WIDE))
    np.testing.assert_array_equal(picture.pixels, samples)
    assert picture.profile == WIDE
    eight = opened(tmp_path, saved(eight_bits(samples), "PNG", icc_profile=WIDE))
    assert np.percentile(np.abs(picture.view.astype(int) - eight.view), 99) <= 2


def test_a_16_bit_colour_that_is_transparent(tmp_path: Path) -> None:
    samples = deep(1, 40, 50, 3)
    samples[:20] = (100, 2_000, 30_000)
    key = chunk(b"tRNS", b"".join(int(each).to_bytes(2, "big") for each in samples[0, 0]))
    picture = opened(tmp_path, with_chunks(deep_png(samples), key))
    assert not picture.pixels[:20, :, 3].any() and (picture.pixels[20:, :, 3] == FULL).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_is_taken_in_16_bits_and_told(tmp_path: Path, dtype: type) -> None:
    samples = deep(1, 40, 50).astype(np.float64) / FULL
    samples[0, 0, :3] = (-1, 2, np.nan)
    picture = opened(tmp_path, tiff(TiffPage(samples.astype(dtype), extra=[2])))
    wanted = np.rint(np.clip(np.nan_to_num(samples.astype(dtype).astype(float)), 0, 1) * FULL)
    np.testing.assert_array_equal(picture.pixels, wanted)
    assert "floating point" in picture.notes[0] and "16 bits" in picture.notes[0]


def test_a_psd_of_32_bits_is_taken_in_16_and_told(tmp_path: Path) -> None:
    samples = (deep(1, 40, 50, 3) / FULL).astype(np.float32)
    picture = opened(tmp_path, psd([samples[..., band] for band in range(3)], 3))
    np.testing.assert_array_equal(picture.pixels[..., :3], np.rint(samples * FULL))
    assert "32-bit floating point" in picture.notes[0]


@pytest.mark.parametrize("dtype", [np.uint32, np.int16, np.int32])
def test_other_depths_are_refused_with_a_way_out(tmp_path: Path, dtype: type) -> None:
    samples = deep(1, 40, 50).astype(dtype)
    assert "Krita" in refused(tmp_path, tiff(TiffPage(samples, extra=[2])), "bits per channel|below zero").hint


def test_premultiplied_16_bits_become_straight(tmp_path: Path) -> None:
    samples = deep(1, 40, 50)
    samples[..., 3] = np.maximum(samples[..., 3], 40_000)
    stored = samples.copy()
    stored[..., :3] = np.rint(samples[..., :3] * (samples[..., 3:] / FULL))
    picture = opened(tmp_path, tiff(TiffPage(stored, extra=[1])))
    assert np.abs(picture.pixels.astype(int) - samples).max() <= 1


def test_channels_that_are_no_transparency_are_left_out_and_told(tmp_path: Path) -> None:
    samples = deep(1, 40, 50, 5)
    picture = opened(tmp_path, tiff(TiffPage(samples, extra=[0, 2])))
    np.testing.assert_array_equal(picture.pixels, samples[..., [0, 1, 2, 4]])
    assert picture.notes[0].startswith("A channel beside the colours was left out")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "tiff"])
def test_16_bits_are_turned_upright(tmp_path: Path, orientation: int, form: str) -> None:
    samples = deep(1, 40, 50, 3)
    if form == "tiff":
        data = tiff(TiffPage(samples, tags={274: (3, [orientation])}))
    else:
        exif = Image.Exif()
        exif[274] = orientation
        data = with_chunks(deep_png(samples), chunk(b"eXIf", exif.tobytes()[6:]))
    small = Image.fromarray(eight_bits(samples))
    out = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    small.save(out, "PNG", exif=exif)
    np.testing.assert_array_equal(opened(tmp_path, data).view, opened(tmp_path, out.getvalue()).view)


@pytest.mark.parametrize(
    ("space", "said"),
    [("RGBA", ""), ("RGBA16", "16 bits"), ("RGBAF16", "16 bits"), ("RGBAF32", "32 bits"), ("GRAYAU16", "16 bits")],
)
def test_a_krita_document_deeper_than_its_merged_image_is_told(tmp_path: Path, space: str, said: str) -> None:
    picture = opened(tmp_path, kra(saved(opaque(1, 40, 50), "PNG"), space))
    assert picture.pixels.dtype == np.uint8
    assert said in "".join(picture.notes) and len(picture.notes) == bool(said)
    deeper = opened(tmp_path, kra(deep_png(deep(1, 40, 50)), space))
    assert deeper.pixels.dtype == np.uint16
    assert len(deeper.notes) == (space == "RGBAF32")


def test_an_ora_deeper_than_its_merged_image_is_told(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("data/layer0.png", deep_png(deep(1, 40, 50)))
        archive.writestr("mergedimage.png", saved(opaque(1, 40, 50), "PNG"))
    assert "16 bits" in opened(tmp_path, out.getvalue()).notes[0]


def finished(clear: bool, profile: bytes | None = None) -> tuple[Stack, Picture]:
    """A 16-bit picture of noise and its exact layers."""
    pixels = deep(1, 40, 50)
    if not clear:
        pixels[..., 3] = FULL
    picture = Picture(pixels, profile=profile, view=eight_bits(pixels), dpi=300)
    layers = (Layer("Background", deep(2, 40, 50)), Layer("Object 1", deep(3, 20, 30), 10, 5))
    return make_exact(Fitted(Stack(layers, 50, 40), []), picture), picture


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("profile", [None, WIDE])
def test_layers_of_16_bits_are_saved_and_flatten_to_the_picture(
    tmp_path: Path, clear: bool, profile: bytes | None
) -> None:
    stack, picture = finished(clear, profile)
    write_openraster(stack, picture, tmp_path / "a.ora")
    write_psd(stack, picture, tmp_path / "a.psd")
    write_folder(stack, picture, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        ora = [imagecodecs.png_decode(archive.read(f"data/layer0{n}.png")) for n in range(2)]
    psd_layers = [
        np.rint(np.asarray(layer.numpy()) * FULL).astype(np.uint16) for layer in PSDImage.open(tmp_path / "a.psd")
    ]
    names = [each["file"] for each in json.loads((tmp_path / "a" / "stack.json").read_text())["layers"]]
    files = [imagecodecs.png_decode((tmp_path / "a" / name).read_bytes()) for name in names]
    for read in (ora, psd_layers):
        for pixels, layer in zip(read, stack.layers, strict=True):
            np.testing.assert_array_equal(pixels, layer.pixels)
    np.testing.assert_array_equal(files[1][5:25, 10:40], stack.layers[1].pixels)
    flat = flatten(stack, encoding("RGBA", np.uint16))
    seen = picture.pixels[..., 3] > 0
    np.testing.assert_array_equal(flat[seen], picture.pixels[seen])
    for name in ("a.ora", "a.psd", f"a/{names[0]}"):
        again = opened(tmp_path, (tmp_path / name).read_bytes(), "again")
        assert again.pixels.dtype == np.uint16 and abs(again.dpi - 300) < 0.01
        assert again.profile == profile or profile is None  # sRGB is then written out
    if not clear:
        again = opened(tmp_path, (tmp_path / "a.psd").read_bytes(), "again")
        np.testing.assert_array_equal(again.pixels, picture.pixels)


def test_the_same_layers_give_the_same_file(tmp_path: Path) -> None:
    stack, picture = finished(clear=True)
    for write, name in ((write_openraster, "ora"), (write_psd, "psd")):
        write(stack, picture, tmp_path / f"a.{name}")
        write(stack, picture, tmp_path / f"b.{name}")
        assert (tmp_path / f"a.{name}").read_bytes() == (tmp_path / f"b.{name}").read_bytes()


def test_a_contact_sheet_of_16_bits(tmp_path: Path) -> None:
    stack, picture = finished(clear=True)
    assert contact_sheet(stack, picture, "a.png").width > 300


@pytest.mark.parametrize("form", ["psd", "tiff"])
def test_cmyk_and_lab_of_16_bits_look_as_they_do_in_8(tmp_path: Path, form: str) -> None:
    pixels = noise(1, 40, 50)
    for mode, photometric, count in ((4, 5, 4), (9, 8, 3)):
        views = []
        for samples in (pixels[..., :count], pixels[..., :count].astype(np.uint16) * 257):
            if form == "psd":
                data = psd([samples[..., band] for band in range(count)], mode)
            else:
                data = tiff(TiffPage(samples, photometric))
            views.append(opened(tmp_path, data).view.astype(int))
        # 8 bits of Lab are coarse, most of all far outside sRGB
        assert np.abs(views[0] - views[1]).mean() < 1


def test_pixels_that_unpack_to_far_more_than_the_picture_are_refused(tmp_path: Path) -> None:
    png = deep_png(deep(1, 40, 50))
    packed = zlib.compress(bytes(40 * 2**20))
    data = png[:33] + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    refused(tmp_path, data, "much more than a picture of its size")
