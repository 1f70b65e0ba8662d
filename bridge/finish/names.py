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
SAMPLES = 16384  # pixels looked at, about: a name needs no more
LONGEST = 60
SEEN = 32  # of 255: below it is noise


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
    column = min(int(x * 3), 2)
    row = min(int(y * 3), 2)
    return (
        ("upper left", "top", "upper right"),
        ("left", "centre", "right"),
        ("lower left", "bottom", "lower right"),
    )[row][column]


def main_colour(pixels: U8) -> str:
    """The commonest colour name among the opaque pixels of (h, w, 4) uint8 RGBA."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLES) ** 0.5))
    sample = pixels[::step, ::step].reshape(-1, 4)
    opaque = sample[sample[:, 3] > 127]
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
    if value < 0.2:
        return "black"
    if saturation < 0.15:
        return "white" if value > 0.88 else "grey"
    name = next((name for bound, name in HUES if hue < bound), "red")
    if name in ("red", "orange", "yellow") and value < 0.65:
        return "brown" if name != "yellow" else "olive"
    if name in ("orange", "yellow") and saturation < 0.35:
        return "beige"
    return "pink" if name == "red" and saturation < 0.45 else name
