"""What opening a picture takes beside the picture: no second copy of it, whatever its kind."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from bridge.errors import BadPicture
from bridge.files import image_file
from bridge.files.load import load_picture
from bridge.files.raster import turned, with_alpha
from bridge.files.room import room
from tests.bench import bench_large_files as large

SIDE = 3000
OWN = SIDE * SIDE * 4
SPARE = 30_000_000
"""Bytes that libraries take for themselves while they load and decode."""
OPEN = """
import sys
from pathlib import Path
from bridge.files.load import load_picture
from tests.bench.bench_hostile_files import resident
load_picture(Path(sys.argv[2]))
before = resident("VmRSS")
load_picture(Path(sys.argv[1]))
print(resident("VmHWM") - before)
"""


def flat(channels: int, dtype: type[np.generic] = np.uint8) -> np.ndarray:
    return np.full((SIDE, SIDE, channels), 90, dtype)


def saved(path: Path, channels: int, mode: str | None = None, **options: object) -> None:
    for side, name in ((SIDE, path), (64, path.with_name("small-" + path.name))):
        Image.fromarray(flat(channels)[:side, :side].squeeze(), mode).save(name, **options)  # pyright: ignore[reportArgumentType]


def rotated() -> bytes:
    exif = Image.Exif()
    exif[274] = large.ROTATED
    return exif.tobytes()


KINDS: dict[str, Callable[[Path], None]] = {
    "rgb.png": lambda path: saved(path, 3, compress_level=1),
    "rgba.png": lambda path: saved(path, 4, compress_level=1),
    "grey.png": lambda path: saved(path, 1, compress_level=1),
    "rgb.jpg": lambda path: saved(path, 3),
    "rotated.jpg": lambda path: saved(path, 3, exif=rotated()),
    "cmyk.jpg": lambda path: saved(path, 4, "CMYK"),
    "lossy.webp": lambda path: saved(path, 3, method=0),
    "rgb.tif": lambda path: saved(path, 3, compression="tiff_lzw"),
    "rgb.bmp": lambda path: saved(path, 3),
}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells how much memory a process had at most")
@pytest.mark.parametrize("name", KINDS)
def test_a_picture_is_decoded_where_it_stays(tmp_path: Path, name: str) -> None:
    KINDS[name](tmp_path / name)
    words = [sys.executable, "-c", OPEN, str(tmp_path / name), str(tmp_path / f"small-{name}")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 1.5 * OWN + SPARE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_samples_are_turned_as_small_ones(orientation: int) -> None:
    """Their rows are given back on the way, some of them with the beginning of those that follow."""
    given = np.random.default_rng(orientation).integers(0, 255, (2500, 2001, 3), np.uint8)
    kept = room((2500, 2001, 3))
    kept[:] = given
    wanted = turned(given, orientation)
    assert (turned(kept, orientation) == wanted).all()


def test_alpha_is_set_beside_large_samples() -> None:
    given = np.random.default_rng(0).integers(0, 65_535, (2100, 2003, 3), np.uint16)
    kept = room((2100, 2003, 3), np.uint16)
    kept[:] = given
    joined = with_alpha(kept, None)
    assert (joined[..., :3] == given).all() and (joined[..., 3] == 65_535).all()


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_webp_is_what_pillow_makes_of_it(tmp_path: Path, lossless: bool, channels: int) -> None:
    path = tmp_path / "a.webp"
    pixels = np.random.default_rng(1).integers(0, 256, (70, 90, channels), np.uint8)
    Image.fromarray(pixels).save(path, lossless=lossless, exact=True)
    with Image.open(path) as image:
        wanted = np.asarray(image.convert("RGBA"))
    assert (load_picture(path).pixels == wanted).all()


def test_a_deep_png_is_decoded_where_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(1).integers(0, 65_536, (70, 90, 4), np.uint16)
    path.write_bytes(bytes(imagecodecs.png_encode(pixels)))
    assert (load_picture(path).pixels == pixels).all()


@pytest.mark.parametrize(("lossless", "exif"), [(True, b""), (True, b"Exif\0\0MM\0*\0\0\0\x08\0\0"), (False, b"")])
def test_only_a_large_webp_without_loss_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossless: bool, exif: bytes
) -> None:
    """Its decoder takes the memory of two pictures."""
    monkeypatch.setattr(image_file, "LARGEST_LOSSLESS_WEBP", 10_000)
    path = tmp_path / "large.webp"
    Image.new("RGBA", (200, 100), (9, 8, 7, 200)).save(path, lossless=lossless, exif=exif)
    if not lossless:
        assert load_picture(path).width == 200
        return
    with pytest.raises(BadPicture, match="without loss") as told:
        load_picture(path)
    assert "PNG" in told.value.hint
    Image.new("RGBA", (100, 90)).save(path, lossless=True)
    assert load_picture(path).width == 100
