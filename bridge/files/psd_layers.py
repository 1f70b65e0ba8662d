"""Whether a Photoshop document's layers show something where its merged image shows a single colour."""

from collections.abc import Generator
from typing import Any, BinaryIO, cast

import numpy as np
from psd_tools import PSDImage
from psd_tools.constants import BlendMode

from bridge.files.blank import MOST_LAYERS, layers_show_more, shows_another
from bridge.files.bounded import size_of
from bridge.files.colour import Samples, Space
from bridge.files.raster import eight_bits, with_alpha

LARGEST = 256 * 2**20
"""Bytes of a file that is looked into: it is read whole."""
ROOM = 512 * 2**20
"""Bytes that reading one layer may take."""


def layers_differ(file: BinaryIO, merged: Samples, space: Space, depth: int) -> bool:
    """Whether layers show more than the one colour of `merged`, the (H, W, n) samples in the file's own numbers.

    False where in doubt: for a file that is too large or damaged, or where what shows hangs on more than plain layers.
    """
    if size_of(file) > LARGEST:
        return False
    try:
        psd = PSDImage.open(file, max_alloc_bytes=ROOM)  # pyright: ignore[reportUnknownMemberType]
        layers = _plain_layers(psd)
        if space in ("GREY", "RGB") and depth in (8, 16):
            return layers_show_more(layers, _colour(merged, space), psd.width, psd.height)
        # other models' numbers are not comparable with what the library makes of the layers
        return any(_varies(layer) for layer in layers)
    except Exception:  # the library meets a damaged file with anything from ValueError to RecursionError
        return False


def _colour(merged: Samples, space: Space) -> Samples:
    pixel = eight_bits(merged[:1, :1])
    colours = 1 if space == "GREY" else 3
    rgb = np.repeat(pixel, 3, 2) if colours == 1 else pixel[..., :3]
    alpha = pixel[..., colours : colours + 1] if pixel.shape[2] > colours else None
    return with_alpha(rgb[..., :3], alpha)[0, 0]


def _varies(layer: Samples) -> bool:
    shown = layer[layer[..., 3] > 0]
    return len(shown) > 0 and shows_another(layer, shown[0])


def _plain_layers(psd: PSDImage) -> Generator[Samples]:
    """The visible layers of pixels that lie plainly upon one another, from the top: (h, w, 4) uint8."""
    for layer in cast(Any, reversed(list(psd.descendants())[-MOST_LAYERS:])):
        plain = layer.blend_mode in (BlendMode.NORMAL, BlendMode.PASS_THROUGH) and not layer.has_mask()
        if layer.is_group() or not layer.is_visible() or layer.opacity == 0 or not plain or layer.clipping:
            continue
        image = layer.topil(apply_icc=False)
        if image is not None:
            yield _inside(np.asarray(image.convert("RGBA")), layer, psd)


def _inside(pixels: Samples, layer: Any, psd: PSDImage) -> Samples:
    """What of a layer lies on the canvas."""
    left, top = max(0, -layer.left), max(0, -layer.top)
    return pixels[top : max(top, psd.height - layer.top), left : max(left, psd.width - layer.left)]
