"""Posters whose every line of lettering is known: what bench_text.py reads and lifts.

Each poster is a ground (flat, gradient, pattern, photograph) and lines of text, every line an RGBA layer of its own, so
that the alpha which a perfect splitter would find is known to the last pixel. Sizes are shares of the width, so the
same poster can be made at any size. Fonts and photographs are taken from where Debian puts them; without them, Pillow's
own font and painted grounds are used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Rgb = tuple[int, int, int]
Ground = Callable[[int, int], NDArray[np.uint8]]
FONTS = Path("/usr/share/fonts")
PHOTOS = Path("/usr/share/backgrounds/mate")


@dataclass(frozen=True)
class Line:
    """One line: x, y (its top left) and size in shares of the width; ink one colour, two (gradient) or one a letter."""

    text: str
    x: float
    y: float
    size: float
    font: str = "DejaVuSans-Bold"
    ink: Rgb | Sequence[Rgb] = (20, 20, 20)
    fill: str = "solid"
    angle: float = 0.0
    outline: Rgb | None = None
    shadow: bool = False
    goes_on: bool = False  # one paragraph, and so one layer, with the line before


@dataclass(frozen=True)
class Poster:
    name: str
    ground_kind: str
    ground: Ground
    lines: tuple[Line, ...]
    aspect: float = 0.72


@dataclass(frozen=True)
class Made:
    """flat (H, W, 3) uint8; ground (H, W, 3) uint8; texts: the words and the alpha (H, W) 0…1 of each text layer."""

    flat: NDArray[np.uint8]
    ground: NDArray[np.uint8]
    texts: list[tuple[str, NDArray[np.float32]]]


@lru_cache
def _fonts() -> dict[str, Path]:
    return {path.stem: path for end in ("*.ttf", "*.otf") for path in sorted(FONTS.rglob(end))}


def font(name: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    path = _fonts().get(name)
    return ImageFont.truetype(str(path), round(size)) if path else ImageFont.load_default(round(size))


def flat(colour: Rgb) -> Ground:
    return lambda w, h: np.full((h, w, 3), colour, np.uint8)


def gradient(start: Rgb, end: Rgb, angle: float = 60.0) -> Ground:
    def make(w: int, h: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:h, :w].astype(np.float32)
        along = x / w * np.cos(np.radians(angle)) + y / h * np.sin(np.radians(angle))
        along = (along - along.min()) / np.ptp(along)
        return np.rint(
            np.asarray(start, np.float32)
            + along[..., None] * (np.asarray(end, np.float32) - np.asarray(start, np.float32))
        ).astype(np.uint8)

    return make


def stripes(a: Rgb, b: Rgb, period: float = 0.05) -> Ground:
    def make(w: int, h: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:h, :w].astype(np.float32)
        wave = np.sin((x + y) * (2 * np.pi / (period * w)))
        share = np.clip(wave * period * w / 6 + 0.5, 0, 1)[..., None]
        return np.rint(np.asarray(a, np.float32) * (1 - share) + np.asarray(b, np.float32) * share).astype(np.uint8)

    return make


def discs(ground: Rgb, spots: Sequence[tuple[float, float, float, Rgb]]) -> Ground:
    def make(w: int, h: int) -> NDArray[np.uint8]:
        big = Image.new("RGB", (w * 2, h * 2), ground)
        pen = ImageDraw.Draw(big)
        for x, y, r, colour in spots:
            pen.ellipse([(x - r) * 2 * w, (y - r) * 2 * w, (x + r) * 2 * w, (y + r) * 2 * w], fill=colour)
        return np.asarray(big.resize((w, h), Image.Resampling.BOX))

    return make


def photo(name: str) -> Ground:
    def make(w: int, h: int) -> NDArray[np.uint8]:
        path = PHOTOS / name
        if not path.exists():
            return gradient((40, 80, 40), (150, 170, 120))(w, h)
        image = np.asarray(Image.open(path).convert("RGB"))
        k = max(w / image.shape[1], h / image.shape[0])
        image = cv2.resize(
            image,
            (max(w, round(image.shape[1] * k)), max(h, round(image.shape[0] * k))),
            interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC,
        )
        top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
        return np.ascontiguousarray(image[top : top + h, left : left + w])

    return make


def _draw(line: Line, w: int, h: int) -> NDArray[np.uint8]:
    """The line as an (h, w, 4) uint8 layer, straight alpha."""
    type_ = font(line.font, line.size * w)
    stroke = max(1, round(line.size * w * 0.05)) if line.outline else 0
    x, y = line.x * w, line.y * w
    mask, edge = Image.new("L", (w, h)), Image.new("L", (w, h))
    if stroke:
        ImageDraw.Draw(edge).text((x, y), line.text, font=type_, fill=255, stroke_width=stroke)
    ImageDraw.Draw(mask).text((x, y), line.text, font=type_, fill=255)
    box = mask.getbbox() or (0, 0, 1, 1)
    inks = [line.ink] if isinstance(line.ink[0], int) else list(line.ink)
    paint = np.empty((h, w, 3), np.float32)
    paint[:] = inks[0]
    if line.fill == "gradient":
        along = np.clip((np.arange(h) - box[1]) / max(1, box[3] - box[1]), 0, 1)[:, None, None]
        paint[:] = np.asarray(inks[0], np.float32) * (1 - along) + np.asarray(inks[1], np.float32) * along
    elif line.fill == "letters":
        for i in range(len(line.text)):
            start = x + type_.getlength(line.text[:i])
            paint[:, max(0, int(start)) :] = inks[i % len(inks)]
    layers = []
    if line.shadow:
        off = line.size * w * 0.06
        dark = mask.transform((w, h), Image.Transform.AFFINE, (1, 0, -off, 0, 1, -off))
        dark = dark.filter(ImageFilter.GaussianBlur(line.size * w * 0.03))
        layers.append((np.zeros(3, np.float32), np.asarray(dark, np.float32) / 255 * 0.6))
    if line.outline:
        layers.append((np.asarray(line.outline, np.float32), np.asarray(edge, np.float32) / 255))
    layers.append((paint, np.asarray(mask, np.float32) / 255))
    colour, alpha = np.zeros((h, w, 3), np.float32), np.zeros((h, w, 1), np.float32)
    for c, a in layers:
        a = a[..., None]
        colour, alpha = c * a + colour * (1 - a), a + alpha * (1 - a)
    rgba = np.concatenate([colour, alpha * 255], -1)
    if line.angle:
        turn = cv2.getRotationMatrix2D(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), line.angle, 1)
        rgba = np.clip(cv2.warpAffine(rgba, turn, (w, h), flags=cv2.INTER_CUBIC), 0, 255)
    alpha = rgba[..., 3:] / 255
    rgba[..., :3] = np.clip(rgba[..., :3] / np.maximum(alpha, 1e-3), 0, 255)
    return np.rint(rgba).astype(np.uint8)


def make(poster: Poster, width: int) -> Made:
    height = round(width * poster.aspect)
    ground = poster.ground(width, height)
    lines = [_draw(line, width, height) for line in poster.lines]
    out = ground.astype(np.float32)
    for rgba in lines:
        alpha = rgba[..., 3:].astype(np.float32) / 255
        out = out * (1 - alpha) + rgba[..., :3] * alpha
    texts: list[tuple[str, NDArray[np.float32]]] = []
    for line, rgba in zip(poster.lines, lines, strict=True):
        alpha = rgba[..., 3].astype(np.float32) / np.float32(255)
        if line.goes_on:
            words, before = texts.pop()
            texts.append((f"{words}\n{line.text}", np.maximum(before, alpha)))
        else:
            texts.append((line.text, alpha))
    return Made(np.rint(out).astype(np.uint8), ground, texts)


WHITE, BLACK, RED, BLUE, GOLD = (255, 255, 255), (15, 15, 18), (200, 40, 45), (30, 60, 150), (250, 200, 60)
SMALL_PRINT = (
    Line("The gallery is open from ten to six every", 0.1, 0.42, 0.022, "DejaVuSerif", BLACK),
    Line("day but Monday. Children under twelve come", 0.1, 0.45, 0.022, "DejaVuSerif", BLACK, goes_on=True),
    Line("in free, and so does everyone on Sundays.", 0.1, 0.48, 0.022, "DejaVuSerif", BLACK, goes_on=True),
)

POSTERS = (
    Poster(
        "flat",
        "flat",
        flat((240, 225, 190)),
        (
            Line("SUMMER FEST", 0.08, 0.1, 0.11, "DejaVuSans-Bold", RED),
            Line("Live music by the lake", 0.1, 0.3, 0.05, "C059-Italic", BLUE),
            Line("14 July · 50% off", 0.1, 0.45, 0.035, "LiberationSans-Regular", BLACK),
            Line("&", 0.75, 0.4, 0.12, "C059-Italic", RED),
        ),
    ),
    Poster(
        "gradient",
        "gradient",
        gradient((30, 30, 90), (200, 90, 140)),
        (
            Line("Moonlight", 0.12, 0.12, 0.13, "lobster", WHITE),
            Line("a night of piano and strings", 0.14, 0.36, 0.04, "Lato-Regular", (255, 225, 240)),
            Line("FREE", 0.75, 0.5, 0.06, "BebasNeue-Bold", GOLD),
        ),
    ),
    Poster(
        "paragraph",
        "flat",
        flat((250, 250, 247)),
        (
            Line("Opening hours", 0.1, 0.2, 0.08, "NimbusSans-Bold", BLUE),
            *SMALL_PRINT,
        ),
    ),
    Poster(
        "styles",
        "gradient",
        gradient((250, 240, 215), (250, 205, 165)),
        (
            Line("SUNRISE", 0.08, 0.06, 0.13, "Lato-Black", ((250, 190, 40), (210, 30, 60)), "gradient"),
            Line("CANDY", 0.1, 0.26, 0.12, "RobotoSlab-Bold", (RED, BLUE, (20, 130, 60), (150, 40, 140)), "letters"),
            Line("OUTLINE", 0.1, 0.47, 0.11, "DejaVuSans-Bold", GOLD, outline=(60, 20, 20)),
        ),
    ),
    Poster(
        "shadow",
        "flat",
        flat((120, 190, 200)),
        (
            Line("Floating", 0.15, 0.15, 0.15, "DejaVuSans-Bold", WHITE, shadow=True),
            Line("words with a soft shadow", 0.15, 0.45, 0.045, "DejaVuSans", WHITE, shadow=True),
        ),
    ),
    Poster(
        "sun",
        "shapes",
        discs((90, 170, 220), ((0.3, 0.22, 0.16, (255, 205, 70)), (0.85, 0.75, 0.3, (60, 140, 70)))),
        (
            Line("GOOD MORNING", 0.06, 0.17, 0.105, "BebasNeue-Bold", WHITE),
            Line("coffee & bread", 0.1, 0.5, 0.06, "lobster", (70, 35, 20)),
            Line("from 7 am", 0.68, 0.58, 0.045, "DejaVuSans-Bold", WHITE),
        ),
    ),
    Poster(
        "stripes",
        "pattern",
        stripes((245, 215, 90), (235, 195, 60)),
        (
            Line("MARKET", 0.1, 0.12, 0.14, "RobotoSlab-Bold", (40, 60, 50)),
            Line("every Saturday", 0.12, 0.4, 0.06, "Comfortaa-Bold", (160, 40, 30)),
        ),
    ),
    Poster(
        "angles",
        "flat",
        flat((35, 40, 48)),
        (
            Line("TILTED", 0.1, 0.2, 0.1, "DejaVuSans-Bold", GOLD, angle=20),
            Line("the other way", 0.5, 0.3, 0.05, "LiberationSans-Bold", WHITE, angle=-15),
            Line("SIDEWAYS", 0.6, 0.5, 0.05, "DejaVuSans-Bold", (230, 120, 120), angle=90),
        ),
    ),
    Poster(
        "flower",
        "photo",
        photo("nature/FreshFlower.jpg"),
        (
            Line("In full bloom", 0.12, 0.2, 0.12, "lobster", WHITE),
            Line("BOTANICAL GARDEN", 0.15, 0.42, 0.05, "Lato-Bold", WHITE),
            Line("Tickets at the gate, 5 to 9 May", 0.15, 0.55, 0.03, "DejaVuSans", WHITE),
        ),
    ),
    Poster(
        "meadow",
        "photo",
        photo("nature/GreenMeadow.jpg"),
        (
            Line("WILD FIELDS", 0.1, 0.1, 0.11, "BebasNeue-Bold", (255, 240, 120)),
            Line("a walk through the meadows", 0.1, 0.35, 0.04, "DejaVuSerif-Bold", BLACK),
            Line("Meet at the old mill at nine", 0.1, 0.6, 0.024, "DejaVuSans", WHITE),
        ),
    ),
    Poster(
        "garden",
        "photo",
        photo("nature/Garden.jpg"),
        (
            Line("GARDEN DAY", 0.1, 0.15, 0.1, "DejaVuSans-Bold", WHITE, shadow=True),
            Line("plants, seeds and advice", 0.1, 0.4, 0.045, "LiberationSans-Bold", GOLD),
            Line("bring your own basket", 0.1, 0.55, 0.025, "DejaVuSans-Bold", WHITE),
        ),
    ),
    Poster(
        "ladybird",
        "photo",
        photo("nature/LadyBird.jpg"),
        (
            Line("Tiny wonders", 0.3, 0.08, 0.09, "C059-Italic", WHITE),
            Line("MACRO 2024", 0.5, 0.5, 0.06, "Lato-Black", RED, outline=WHITE),
            Line("photographs by the club", 0.1, 0.63, 0.028, "LiberationSans-Regular", BLACK),
        ),
    ),
    Poster(
        "dune",
        "photo",
        photo("nature/Dune.jpg"),
        (
            Line("SILENCE", 0.1, 0.2, 0.13, "DejaVuSans-ExtraLight", BLACK),
            Line("of the desert", 0.3, 0.45, 0.06, "C059-Italic", (90, 20, 20)),
        ),
    ),
)
