"""Names an artist can find a layer by: the words read in it, otherwise its kind, main colour and place."""

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.picture import Layer, Stack

HUES = ((15, "red"), (42, "orange"), (68, "yellow"), (160, "green"), (195, "turquoise"), (255, "blue"), (290, "purple"), (340, "pink"))
"""Upper bounds in degrees of HSV hue; what is beyond the last is red again."""
SAMPLES = 4096
LONGEST = 60


def name_layers(stack: Stack) -> Stack:
    """Unique names: the backend's own for text and background, "Object 2 (red, lower left)" for the rest, counted from the top."""
    named: list[Layer] = []
    objects = sum(layer.kind != "text" and layer.kind != "background" for layer in stack.layers)
    seen: Counter[str] = Counter()
    for layer in stack.layers:
        if layer.kind == "background":
            name = "Background"
        elif layer.kind == "text":
            name = shortened(layer.name)
        else:
            name = f"{layer.kind.capitalize()} {objects} ({main_colour(layer.pixels)}, {place(layer, stack.width, stack.height)})"
            objects -= 1
        seen[name] += 1
        named.append(layer.named(name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return replace(stack, layers=tuple(named))


def shortened(name: str) -> str:
    """One line of at most LONGEST characters, control characters gone."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def place(layer: Layer, width: int, height: int) -> str:
    """Where the middle of the layer's visible part lies on the canvas, in ninths: "upper left", "centre", "bottom", …"""
    alpha = layer.pixels[..., 3].astype(np.float32)
    total = float(alpha.sum()) or 1.0
    x = (layer.left + float(alpha.sum(0) @ np.arange(alpha.shape[1])) / total) / width
    y = (layer.top + float(alpha.sum(1) @ np.arange(alpha.shape[0])) / total) / height
    column = min(int(x * 3), 2)
    row = min(int(y * 3), 2)
    return (
        ("upper left", "top", "upper right"),
        ("left", "centre", "right"),
        ("lower left", "bottom", "lower right"),
    )[row][column]


def main_colour(pixels: NDArray[np.generic]) -> str:
    """The commonest colour name among the opaque pixels of (h, w, 4) uint8 RGBA."""
    opaque = pixels[pixels[..., 3] > 127][:, :3]
    if len(opaque) == 0:
        opaque = pixels[pixels[..., 3] > 0][:, :3]
    sample = opaque[:: max(1, len(opaque) // SAMPLES)].astype(np.float32) / 255
    if len(sample) == 0:
        return "clear"
    hue, saturation, value = cv2.cvtColor(np.ascontiguousarray(sample)[None], cv2.COLOR_RGB2HSV)[0].T
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
