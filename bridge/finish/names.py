"""Names an artist can find a layer by: the words read in it, otherwise its kind, main colour and place."""

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np

from bridge.finish.flatten import U8
from bridge.picture import Layer, Stack

HUES = (
    (15, "red"),
    (42, "orange"),
    (68, "yellow"),
    (160, "green"),
    (195, "turquoise"),
    (255, "blue"),
    (290, "purple"),
    (340, "pink"),
)
"""Upper bounds in degrees of HSV hue; what is beyond the last is red again."""
SAMPLES = 16384
"""Pixels looked at, about: a name needs no more."""
LONGEST = 60
"""Characters of a name."""
SEEN = 32
"""Alpha of 255; below it is noise."""
SOLID = 127
"""Alpha of 255 above which a pixel's colour counts."""
PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)
"""The canvas in ninths, row by row."""
BLACK = 0.2
"""Below this value (of HSV, 0–1) a colour is black."""
GREY = 0.15
"""Below this saturation it is grey …"""
WHITE = 0.88
"""… or white, above this value."""
BROWN = 0.65
"""Below this value red and orange are brown, and yellow is olive."""
BEIGE = 0.35
"""Below this saturation orange and yellow are beige."""
PINK = 0.45
"""Below this saturation red is pink."""


def name_layers(stack: Stack) -> Stack:
    """Unique names for (h, w, 4) uint8 sRGB layers.

    The background is called that; a layer that brings a name (the words read in it, a model's caption) keeps it; others
    become "Object 2 (red, lower left)", counted from the top.
    """
    named: list[Layer] = []
    objects = sum(_is_nameless(layer) and layer.kind != "background" for layer in stack.layers)
    seen: Counter[str] = Counter()
    for layer in stack.layers:
        if layer.kind == "background":
            name = "Background"
        elif not _is_nameless(layer):
            name = shortened(layer.name)
        else:
            described = f"{main_colour(layer.pixels)}, {place(layer, stack.width, stack.height)}"
            name = f"{layer.kind.capitalize()} {objects} ({described})"
            objects -= 1
        seen[name] += 1
        named.append(layer.named(name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return replace(stack, layers=tuple(named))


def _is_nameless(layer: Layer) -> bool:
    """Whether its name says no more than its kind."""
    return layer.name.strip().lower() in ("", layer.kind)


def shortened(name: str) -> str:
    """One line of at most LONGEST characters, control characters gone."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def place(layer: Layer, width: int, height: int) -> str:
    """Where the middle of what is visible lies on the canvas, in ninths: "upper left", "top", … "lower right"."""
    alpha = layer.pixels[..., 3]
    shown = cv2.threshold(np.ascontiguousarray(alpha), SEEN, 255, cv2.THRESH_TOZERO)[1]
    moments = cv2.moments(shown if shown.any() else np.ascontiguousarray(alpha))
    total = moments["m00"] or 1.0
    x = (layer.left + moments["m10"] / total) / width
    y = (layer.top + moments["m01"] / total) / height
    count = len(PLACES)
    return PLACES[min(int(y * count), count - 1)][min(int(x * count), count - 1)]


def main_colour(pixels: U8) -> str:
    """The commonest colour name among the opaque pixels of (h, w, 4) uint8 RGBA."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLES) ** 0.5))
    sample = pixels[::step, ::step].reshape(-1, 4)
    opaque = sample[sample[:, 3] > SOLID]
    if len(opaque) == 0:  # thin or faint all over: every pixel counts
        sample = pixels.reshape(-1, 4)
        opaque = sample[sample[:, 3] >= max(1, int(sample[:, 3].max()))]
    if len(opaque) == 0:
        return "clear"
    colours = np.ascontiguousarray(opaque[:, :3], np.float32)[None] / 255
    hue, saturation, value = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)[0].T
    return Counter(map(_colour_name, hue, saturation, value)).most_common(1)[0][0]


def _colour_name(hue: float, saturation: float, value: float) -> str:
    """hue 0–360, saturation and value 0–1."""
    if value < BLACK:
        return "black"
    if saturation < GREY:
        return "white" if value > WHITE else "grey"
    name = next((name for bound, name in HUES if hue < bound), "red")
    if name in ("red", "orange", "yellow") and value < BROWN:
        return "brown" if name != "yellow" else "olive"
    if name in ("orange", "yellow") and saturation < BEIGE:
        return "beige"
    return "pink" if name == "red" and saturation < PINK else name
