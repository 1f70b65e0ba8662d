"""The .ora and .psd files that `unflatten split` writes, opened in real Krita."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bridge.files.openraster import write_openraster
from bridge.files.psd import write_psd
from bridge.files.raster import eight_bits
from bridge.finish.encoding import encoding
from bridge.finish.flatten import flatten
from bridge.picture import Layer, Picture, Stack

HERE = Path(__file__).parent
WIDE = Path("/usr/share/color/icc/krita/ClayRGB-elle-V2-g22.icc")

pytestmark = pytest.mark.krita


@dataclass(frozen=True)
class Opened:
    """A document as Krita shows it; pixels are RGBA."""

    profile: str
    depth: str
    flat: np.ndarray
    layers: list[tuple[dict[str, object], np.ndarray]]


def stack(back_alpha: int | None, dtype: type = np.uint8) -> Stack:
    rng = np.random.default_rng(1)
    full = int(np.iinfo(dtype).max)

    def noise(height: int, width: int, alpha: int | None = None) -> np.ndarray:
        pixels = rng.integers(0, full + 1, (height, width, 4), dtype)
        if alpha is not None:
            pixels[..., 3] = alpha
        # Krita counts a layer's corners as part of it only where there is something.
        pixels[0, 0, 3] = pixels[-1, -1, 3] = full
        return pixels

    layers = (
        Layer("Background", noise(180, 240, back_alpha), kind="background"),
        Layer("Text: ÉTÉ 夏祭り & <b>", noise(50, 80), 30, 20),
        Layer("Object 1 (red, lower left)", noise(60, 60), 150, 100),
        Layer("Object 2", noise(16, 16), 0, 0, visible=False),
    )
    return Stack(layers, 240, 180)


def seen(layers: Stack) -> np.ndarray:
    visible = tuple(layer for layer in layers.layers if layer.visible)
    return flatten(Stack(visible, layers.width, layers.height), encoding("RGBA", visible[0].pixels.dtype))


def open_in_krita(files: list[Path], home: Path) -> dict[str, Opened]:
    (home / "run").mkdir(mode=0o700, parents=True)
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": str(HERE),
    }
    command = ["kritarunner", "-s", "opened_files", "-f", "run", *map(str, files)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {file.name: opened(file) for file in files}


def opened(file: Path) -> Opened:
    told = json.loads(file.with_name(file.name + ".json").read_text())
    layers = [
        (layer, bgra(file.with_name(f"{file.name}.{index}"), *layer["rect"][2:], depth=layer["depth"]))
        for index, layer in enumerate(told["layers"])
    ]
    flat = bgra(file.with_name(file.name + ".flat"), *told["size"], depth=told["depth"])
    return Opened(told["profile"], told["depth"], flat, layers)


def bgra(file: Path, width: int, height: int, *, depth: str) -> np.ndarray:
    dtype = np.uint16 if depth == "U16" else np.uint8
    return np.frombuffer(file.read_bytes(), dtype).reshape(height, width, 4)[..., [2, 1, 0, 3]]


def furthest(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference of any channel, where anything is seen."""
    return int(np.abs(one.astype(int) - other)[other[..., 3] > 0].max())


@pytest.fixture(scope="module")
def documents(programs: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Opened]:
    folder = tmp_path_factory.mktemp("saved")
    profiles: dict[str, bytes | None] = {"opaque": None, "transparent": None}
    if WIDE.is_file():
        profiles["wide"] = WIDE.read_bytes()
    for name, profile in profiles.items():
        layers = stack(None if name == "transparent" else 255)
        picture = Picture(seen(layers), profile=profile, view=seen(layers))
        write_openraster(layers, picture, folder / f"{name}.ora")
        write_psd(layers, picture, folder / f"{name}.psd")
    deep = stack(65_535, np.uint16)
    picture = Picture(seen(deep), view=eight_bits(seen(deep)))
    write_openraster(deep, picture, folder / "deep.ora")
    write_psd(deep, picture, folder / "deep.psd")
    files = sorted([*folder.glob("*.ora"), *folder.glob("*.psd")])
    return open_in_krita(files, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("ending", ["ora", "psd"])
@pytest.mark.parametrize("kind", ["opaque", "transparent", "wide"])
def test_krita_shows_every_layer_as_it_was(documents: dict[str, Opened], kind: str, ending: str) -> None:
    if f"{kind}.{ending}" not in documents:
        pytest.skip("Krita's wide-gamut profile is not on this machine")
    document = documents[f"{kind}.{ending}"]
    originals = stack(None if kind == "transparent" else 255).layers
    assert [told["name"] for told, _ in document.layers] == [layer.name for layer in originals]
    for (told, pixels), layer in zip(document.layers, originals, strict=True):
        assert told["rect"] == list(layer.rect)
        assert told["visible"] == layer.visible
        assert furthest(pixels, layer.pixels) == 0
        if kind == "wide":
            assert told["profile"] == WIDE.name


@pytest.mark.parametrize(
    ("name", "most"), [("opaque.ora", 0), ("opaque.psd", 0), ("transparent.ora", 1), ("transparent.psd", 1)]
)
def test_krita_shows_the_same_picture(documents: dict[str, Opened], name: str, most: int) -> None:
    wanted = seen(stack(None if name.startswith("transparent") else 255))
    assert furthest(documents[name].flat, wanted) <= most


def test_a_psd_keeps_a_wide_gamut_and_an_ora_is_opened_as_srgb(documents: dict[str, Opened]) -> None:
    if "wide.psd" not in documents:
        pytest.skip("Krita's wide-gamut profile is not on this machine")
    assert documents["wide.psd"].profile == WIDE.name
    assert furthest(documents["wide.psd"].flat, seen(stack(255))) == 0
    # Krita's own doing, and why the README advises .psd: the day it changes, the advice can go.
    assert documents["wide.ora"].profile.startswith("sRGB")


@pytest.mark.parametrize("ending", ["ora", "psd"])
def test_krita_shows_layers_of_16_bits_as_they_were(documents: dict[str, Opened], ending: str) -> None:
    document, wanted = documents[f"deep.{ending}"], stack(65_535, np.uint16)
    for (told, pixels), layer in zip(document.layers, wanted.layers, strict=True):
        assert (told["name"], told["rect"], told["depth"]) == (layer.name, list(layer.rect), "U16")
        assert furthest(pixels, layer.pixels) == 0
    assert document.profile.startswith("sRGB") and "g10" not in document.profile
    if ending == "psd":
        assert document.depth == "U16" and furthest(document.flat, seen(wanted)) == 0
