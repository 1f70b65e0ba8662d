"""Writes a stack as a folder of PNG files, back to front, each as large as the picture, and a list of them."""

import json
import re
import struct
import unicodedata
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bridge.files.colour import profile_to_write
from bridge.files.disk import whole_folder
from bridge.picture import Layer, Picture, Pixels, Stack

LIST = "stack.json"
COMPRESSION = 2
"""zlib's level: 6 makes files 5 percent smaller and takes four times as long."""
MAX_NAME = 60
AFTER_HEADER = 33
"""Where a PNG's header ends: its signature, and a chunk of 13 bytes with what every chunk has."""
METRES_PER_INCH = 0.0254


def write_folder(stack: Stack, picture: Picture, target: Path) -> None:
    """Save each layer of `stack` as a PNG in the folder `target`, and names, kinds and places in stack.json."""
    with whole_folder(target) as fresh:
        listed: list[dict[str, object]] = []
        for index, layer in enumerate(stack.layers):
            file = f"{index:02}-{_file_name(layer.name)}.png"
            (fresh / file).write_bytes(encode(_on_canvas(layer, stack), picture))
            listed.append(
                {
                    "file": file,
                    "name": layer.name,
                    "kind": layer.kind,
                    "rect": list(layer.rect),
                    "visible": layer.visible,
                }
            )
        told = {"width": stack.width, "height": stack.height, "layers": listed}
        (fresh / LIST).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
        _drop_older(target, keep={LIST, *(str(layer["file"]) for layer in listed)})


def encode(pixels: Pixels, picture: Picture) -> bytes:
    """(h, w, 4) uint8 or uint16 RGBA as a PNG file of that depth, with the picture's profile and resolution."""
    if pixels.dtype == np.uint16:
        return _encode_deep(pixels, picture)
    out = BytesIO()
    profile = {"icc_profile": picture.profile} if picture.profile else {}
    dpi = (picture.dpi, picture.dpi)
    Image.fromarray(pixels).save(out, "PNG", compress_level=COMPRESSION, dpi=dpi, **profile)
    return out.getvalue()


def _encode_deep(pixels: Pixels, picture: Picture) -> bytes:
    """The same of 16 bits a channel, which Pillow cannot write."""
    import imagecodecs

    plain = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=COMPRESSION))
    per_metre = round(picture.dpi / METRES_PER_INCH)
    told = _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
    profile = profile_to_write(picture)
    if profile:
        told = _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)) + told
    return plain[:AFTER_HEADER] + told + plain[AFTER_HEADER:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _on_canvas(layer: Layer, stack: Stack) -> Pixels:
    """The layer on a transparent canvas of the picture's size, so that the files line up in any program."""
    left, top, width, height = layer.rect
    canvas = np.zeros((stack.height, stack.width, 4), layer.pixels.dtype)
    canvas[top : top + height, left : left + width] = layer.pixels
    return canvas


def _file_name(name: str) -> str:
    """A layer's name as a file name that every system takes: letters and digits of any script, all else as hyphens."""
    plain = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", name.lower())).strip("-")
    shortened = plain.encode()[:MAX_NAME].decode(errors="ignore").strip("-")
    return shortened or "layer"


def _drop_older(target: Path, keep: set[str]) -> None:
    """Remove the layers that an earlier run left in `target`, those that its list names: nothing else is ours."""
    try:
        listed = json.loads((target / LIST).read_text("utf-8"))["layers"]
        older = [str(layer["file"]) for layer in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for file in older:
        if file not in keep and Path(file).name == file:
            (target / file).unlink(missing_ok=True)
