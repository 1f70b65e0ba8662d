"""Every colour space that Krita offers: taken apart by a model's small and drifted draft, and given back exactly."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.krita.bridges import Bridge
from tests.krita.window import Krita, wait_for
from tests.unit.finish import drafts

OUT = Path(__file__).parents[1] / "out"
DTYPES = {"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}


@dataclass(frozen=True)
class Case:
    """profile: a part of its name, empty for Krita's own choice. brightest: HDR values go up to that."""

    model: str
    depth: str
    profile: str = ""
    clear: bool = False
    brightest: float = 1.0

    def __str__(self) -> str:
        extra = [self.profile, "clear" if self.clear else "", f"HDR {self.brightest:g}" if self.brightest > 1 else ""]
        return " ".join([self.model, self.depth, *filter(None, extra)])


CASES = [
    *(Case("RGBA", depth, "sRGB-elle-V2-g10") for depth in ("U16", "F16", "F32")),
    *(Case("RGBA", depth, "sRGB-elle-V2-srgbtrc") for depth in ("U8", "U16", "F16", "F32")),
    Case("RGBA", "U8", "ClayRGB-elle-V2-g22"),
    Case("RGBA", "U16", "LargeRGB-elle-V2-g22"),
    Case("RGBA", "F32", "Rec2020-elle-V4-g10", brightest=12),
    Case("RGBA", "F16", "ACEScg-elle-V4-g10", brightest=12),
    Case("RGBA", "F32", "sRGB-elle-V2-g10", clear=True, brightest=4),
    Case("RGBA", "U16", "sRGB-elle-V2-g10", clear=True),
    Case("RGBA", "U8", "sRGB-elle-V2-srgbtrc", clear=True),
    *(Case("GRAYA", depth) for depth in ("U8", "U16", "F16", "F32")),
    Case("GRAYA", "U16", clear=True),
    *(Case("CMYKA", depth) for depth in ("U8", "U16", "F32")),
    Case("CMYKA", "U8", clear=True),
    *(Case("LABA", depth, "Lab identity") for depth in ("U8", "U16", "F32")),
    *(Case("XYZA", depth) for depth in ("U8", "U16", "F16", "F32")),
    *(Case("YCbCrA", depth, "BT.709-6 YCbCr ICC V4") for depth in ("U8", "U16", "F32")),
    Case("LABA", "F32", "Lab identity", clear=True),
    Case("XYZA", "U8", clear=True),
    Case("YCbCrA", "U16", clear=True),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draft as a model gives it: a third of the size, soft, its colours a little off."""
    file = tmp_path_factory.mktemp("draft") / "stack.npz"
    np.savez(file, *(drafts.small(each) for each in drafts.scene()))
    return file


def prepared(krita: Krita, case: Case, folder: Path) -> np.ndarray:
    """A document of that space with the scene in it, in numbers that only that depth can hold; its pixels."""
    height, width = drafts.HEIGHT, drafts.WIDTH
    shown = drafts.picture().pixels[..., [2, 1, 0, 3]].copy()
    (folder / "shown").write_bytes(shown.tobytes())
    krita.create_document(name="Doc", width=width, height=height)
    krita.fill(name="Doc", path=str(folder / "shown"))
    profile = next(each for each in krita.profiles(model=case.model, depth=case.depth) if case.profile in each)
    krita.convert(name="Doc", model=case.model, depth=case.depth, profile=profile if case.profile else "")
    pixels = projection(krita, case, folder)
    rng = np.random.default_rng(7)
    if case.depth != "U8":  # between the 256 levels, where only this depth can go
        pixels[..., :-1] = noised(pixels[..., :-1], rng)
    if case.brightest > 1:
        pixels[50:120, 400:520, :3] *= DTYPES[case.depth](case.brightest)
    if case.clear:
        full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        fading = np.linspace(0, 1, width)[None].repeat(100, 0) * full
        pixels[:100, :, -1] = fading.astype(pixels.dtype)
        pixels[360:, :, -1] = 0
    (folder / "native").write_bytes(np.ascontiguousarray(pixels).tobytes())
    krita.fill(name="Doc", path=str(folder / "native"))
    return projection(krita, case, folder)


def noised(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if colours.dtype == np.uint16:
        return (colours + rng.integers(-100, 101, colours.shape)).clip(0, 65535).astype(np.uint16)
    spread = float(np.abs(colours.astype(np.float64)).max())
    return (colours + rng.normal(0, 1e-3 * spread, colours.shape)).astype(colours.dtype)


def projection(krita: Krita, case: Case, folder: Path) -> np.ndarray:
    width, height = krita.projection(name="Doc", path=str(folder / "projection"))
    pixels = np.fromfile(folder / "projection", DTYPES[case.depth]).reshape(height, width, -1)
    pixels[pixels[..., -1] == 0] = 0
    return pixels


@pytest.mark.parametrize("case", CASES, ids=str)
def test_flattened_the_layers_give_the_document_back(
    krita: Krita, scripted: Bridge, stack: Path, tmp_path: Path, case: Case
) -> None:
    scripted.script(stack=str(stack))
    before = prepared(krita, case, tmp_path)
    (original,) = krita.layers(name="Doc")

    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()

    assert krita.progress_windows() == [], "nothing to complain of"
    *below, group = krita.layers(name="Doc")
    assert below == [original]
    assert group["name"] == "Unflattened Doc"
    assert len(group["children"]) >= 3
    assert all(child["space"] == original["space"] for child in group["children"]), "in the document's own space"
    after = projection(krita, case, tmp_path)
    off = np.abs(before.astype(np.float64) - after.astype(np.float64)).max(-1)
    worst, identical = float(off.max()), float((off == 0).mean())
    told = {"space": str(case), "profile": original["space"][2], "worst": worst, "identical": identical}
    print(json.dumps(told))
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "spaces.jsonl").open("a") as table:
        table.write(json.dumps(told) + "\n")
    assert worst <= {"U8": 0, "U16": 2, "F16": 1e-4, "F32": 1e-4}[case.depth] * max(1.0, case.brightest)
    assert identical >= {"U8": 1, "U16": 0.999, "F16": 0.999, "F32": 0}[case.depth]

    krita.key("ctrl+z")
    wait_for(lambda: krita.layers(name="Doc") == [original], 20, "one undo to take the group away")
    assert np.array_equal(before, projection(krita, case, tmp_path))
