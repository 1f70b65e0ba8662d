"""Words for the scenes: what a poster, a cartoon or a captioned photograph could say, drawn as premultiplied pixels."""

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.bench.grounds import Colour
from tests.bench.sources import font, fonts

_ADJECTIVES = (
    "Big Little Wild Golden Silent Bright Fresh Happy Lost Secret Winter Summer Electric Grand Modern Blue Early"
)
_NOUNS = (
    "Garden Market Circus Harvest River Orchestra Kitchen Festival Forest Parade Ocean Library Voyage Theatre Workshop "
    "Picnic Bicycle Lantern Museum Orchard Carnival Island Station Bakery Planet Concert Castle Harbour Mountain Story"
)
_VERBS = "Discover Visit Explore Join Taste Hear Build Meet Celebrate Save Share Imagine"
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_MONTHS = "January March April May June July September October November December"


def phrase(rng: random.Random, role: str) -> str:
    """role: title | line | small."""
    adjective, noun, other, verb, day, month = (
        rng.choice(words.split()) for words in (_ADJECTIVES, _NOUNS, _NOUNS, _VERBS, _DAYS, _MONTHS)
    )
    date = f"{rng.randint(1, 30)} {month}"
    match role:
        case "title":
            text = rng.choice(
                (f"{adjective} {noun}", f"{noun} Day", noun, f"{noun} {rng.randint(1950, 2040)}", f"The {noun}")
            )
            return text.upper() if rng.random() < 0.5 else text
        case "line":
            return rng.choice(
                (
                    f"{verb} the {noun}",
                    f"{day} {date}",
                    f"{noun} & {other}",
                    f"{adjective} {noun} {other}",
                    f"{date}, {rng.randint(1, 12)} pm",
                )
            )
        case _:
            return rng.choice(
                (
                    f"Doors open at {rng.randint(5, 9)}:30 in the {noun} Hall",
                    f"Tickets from ${rng.randint(4, 60)} at the {noun} Office",
                    f"www.{noun.lower()}{other.lower()}.org",
                    f"with the {adjective} {noun} Company",
                )
            )


def line_of_text(
    rng: random.Random, text: str, cap_height: float, colour: Colour, widest: float
) -> NDArray[np.float32]:
    """One drawn line, (h, w, 4) premultiplied 0…1, cropped to its ink, at most `widest` pixels wide."""
    path = rng.choice(fonts())
    size = max(10, int(cap_height * 1.4))
    while True:
        face = font(path, size)
        left, top, right, bottom = face.getbbox(text)
        if right - left <= widest or size <= 10:
            break
        size = max(10, min(size - 1, int(size * widest / (right - left))))
    mask = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8), 0)
    ImageDraw.Draw(mask).text((4 - left, 4 - top), text, fill=255, font=face)
    ink = np.asarray(mask, np.float32) / 255
    rows, columns = np.flatnonzero(ink.max(1)), np.flatnonzero(ink.max(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.dstack([ink[..., None] * np.asarray(colour, np.float32), ink]).astype(np.float32)
