"""Where the scenes' clip art, photographs and fonts come from: Debian packages, read where apt put them."""

import hashlib
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

PACKAGES = ("openclipart-png", "tuxpaint-stamps-default", "mate-backgrounds", "fonts-dejavu-extra", "fonts-urw-base35")
CLIP_ART = Path("/usr/share/openclipart/png")
STAMPS = Path("/usr/share/tuxpaint/stamps")
PHOTOGRAPHS = Path("/usr/share/backgrounds/mate")
FONTS = Path("/usr/share/fonts")

# Folders of things that one would call an object; icons, flags, borders and lettering are left out.
CLIP_ART_FOLDERS = (
    "animals", "buildings", "education", "electronics", "food", "geography/astronomy", "people/clothing", "plants",
    "recreation/holiday", "recreation/music", "recreation/party", "recreation/sports", "recreation/toys", "tools",
    "transportation/boating", "transportation/vehicles", "signs_and_symbols/weather",
)  # fmt: skip
NOT_OBJECTS = ("/symbols/", "/roadsigns/", "/money/", "_mirror", "_flip", "/flags/")
PHOTOGRAPH_NAMES = (
    "nature/Aqua.jpg", "nature/Dune.jpg", "nature/FreshFlower.jpg", "nature/Garden.jpg", "nature/GreenMeadow.jpg",
    "nature/LadyBird.jpg", "nature/RainDrops.jpg", "nature/Storm.jpg", "nature/TwoWings.jpg", "nature/Wood.jpg",
    "nature/YellowFlower.jpg", "abstract/Elephants.jpg",
)  # fmt: skip
FONT_FAMILIES = (
    "DejaVu",
    "Nimbus",
    "URWBookman",
    "URWGothic",
    "C059",
    "P052",
    "Z003",
)  # a fixed list: the same scenes everywhere

# Objects and photographs of seeds that differ modulo this number are never the same file.
SHARES = 4


class MissingSources(RuntimeError):
    """A package the scenes are composed from is not installed; the message says which."""


def _need(found: list[Path], packages: str) -> list[Path]:
    if not found:
        raise MissingSources(f"The benchmark's pictures are missing: apt-get install {packages}")
    return found


def _share_of(path: Path) -> int:
    return hashlib.sha256(path.name.encode()).digest()[0] % SHARES


@cache
def _object_files() -> list[Path]:
    clip_art = [f for folder in CLIP_ART_FOLDERS for f in (CLIP_ART / folder).rglob("*.png")]
    stamps = [f for f in STAMPS.rglob("*.png") if not any(part in str(f) for part in NOT_OBJECTS)]
    _need(clip_art, "openclipart-png")
    _need(stamps, "tuxpaint-stamps-default")
    return sorted(clip_art + stamps)


@cache
def fonts() -> list[Path]:
    """Text fonts with Latin letters, sorted by name."""
    files = [f for f in FONTS.rglob("*") if f.suffix in (".ttf", ".otf") and f.name.startswith(FONT_FAMILIES)]
    return sorted(_need(files, "fonts-dejavu-extra fonts-urw-base35"), key=lambda f: f.name)


def font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def photograph(rng: random.Random, width: int, height: int, *, seed: int, number: int) -> NDArray[np.uint8]:
    """(height, width, 3): a part of a photograph, mirrored half the time; another one for each number."""
    files = _need([PHOTOGRAPHS / n for n in PHOTOGRAPH_NAMES if (PHOTOGRAPHS / n).exists()], "mate-backgrounds")
    order = random.Random(f"{seed}/photographs").sample(files, len(files))
    image = np.array(Image.open(order[number % len(order)]).convert("RGB"))
    part = rng.uniform(0.6, 1.0) * min(image.shape[1] / width, image.shape[0] / height)
    w, h = int(width * part), int(height * part)
    x, y = rng.randint(0, image.shape[1] - w), rng.randint(0, image.shape[0] - h)
    crop = image[y : y + h, x : x + w]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    how = cv2.INTER_AREA if part > 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=how)


def objects(rng: random.Random, share: int, longest: int) -> Iterator[NDArray[np.float32]]:
    """Endless clip art cropped to what it covers, (h, w, 4) premultiplied 0…1, its longer side near `longest` pixels.

    Only cut-outs that read as one solid thing: not a full rectangle, not faint, not many scattered pieces.
    """
    files = [f for f in _object_files() if _share_of(f) == share % SHARES]
    while True:
        path = rng.choice(files)
        turned = rng.random() < 0.5
        size = max(16, int(longest * rng.uniform(0.8, 1.2)))
        piece = _read_object(path)
        if piece is None:
            continue
        yield _resized(piece[:, ::-1] if turned else piece, size)


@cache
def _acceptable_size(path: Path) -> bool:
    Image.MAX_IMAGE_PIXELS = None  # a few of the clip arts are posters of 600 megapixels: only their header is read
    with Image.open(path) as image:
        return 240 <= max(image.size) <= 3000 and min(image.size) >= 100


def _read_object(path: Path) -> NDArray[np.float32] | None:
    """(h, w, 4) premultiplied, or None where it is no clean cut-out."""
    if not _acceptable_size(path):
        return None
    pixels = np.asarray(Image.open(path).convert("RGBA"))
    alpha = pixels[..., 3]
    solid = (alpha > 127).astype(np.uint8)
    rows, columns = np.flatnonzero(alpha.max(1) > 8), np.flatnonzero(alpha.max(0) > 8)
    if rows.size < 100 or columns.size < 100:
        return None
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixels, solid = pixels[window], solid[window]
    covered = solid.mean()
    count, _, stats, _ = cv2.connectedComponentsWithStats(solid)
    if not 0.2 < covered < 0.93 or count < 2:
        return None
    if stats[1:, cv2.CC_STAT_AREA].max() < 0.85 * solid.sum():
        return None
    seen = pixels[..., 3][pixels[..., 3] > 8]
    if (seen > 200).mean() < 0.85:
        return None
    scaled = pixels.astype(np.float32) / np.float32(255)
    scaled[..., :3] *= scaled[..., 3:]
    return scaled


def _resized(piece: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    h, w = piece.shape[:2]
    scale = longest / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    if scale < 1:
        out = cv2.resize(np.ascontiguousarray(piece), size, interpolation=cv2.INTER_AREA)
    else:
        # Enlarged clip art keeps the stairs of its source: soften by half a source pixel.
        out = cv2.GaussianBlur(
            cv2.resize(np.ascontiguousarray(piece), size, interpolation=cv2.INTER_CUBIC), (0, 0), 0.5 * scale
        )
    out = np.clip(out, 0, 1)
    out[..., :3] = np.minimum(out[..., :3], out[..., 3:])
    return out
