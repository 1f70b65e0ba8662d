"""Writes a stack as OpenRaster (.ora), which Krita, GIMP and others open. Format: openraster.org, baseline 0.0.3."""

import re
import zipfile
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from bridge.files.disk import whole_file
from bridge.files.png import encode
from bridge.picture import Picture, Stack

MIMETYPE = "image/openraster"
THUMBNAIL = 256
NO_DAY = (1980, 1, 1, 0, 0, 0)
"""The first that a zip file can name."""
# What XML 1.0 cannot hold, even escaped: text read from a picture may contain it.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_openraster(stack: Stack, picture: Picture, target: Path) -> None:
    """Save `stack` as `target`, with `picture` as the merged image that programs without layers show."""
    with whole_file(target) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
        # The mimetype comes first and uncompressed, so that file managers know the file by its first bytes.
        _put(archive, "mimetype", MIMETYPE.encode())
        _put(archive, "stack.xml", _stack_xml(stack, picture.dpi), zipfile.ZIP_DEFLATED)
        for index, layer in enumerate(stack.layers):
            _put(archive, _source(index), encode(layer.pixels, picture))
        _put(archive, "mergedimage.png", encode(picture.pixels, picture))
        _put(archive, "Thumbnails/thumbnail.png", _thumbnail(picture))


def _put(archive: zipfile.ZipFile, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    # Of no day in particular: with the time of saving in it, the same layers would never give the same file.
    entry = zipfile.ZipInfo(name, NO_DAY)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content, compression)


def _source(index: int) -> str:
    return f"data/layer{index:02}.png"


def _stack_xml(stack: Stack, dpi: float) -> bytes:
    """The list of layers: OpenRaster has the topmost first."""
    size = {"w": str(stack.width), "h": str(stack.height), "xres": str(round(dpi)), "yres": str(round(dpi))}
    image = ElementTree.Element("image", {"version": "0.0.3", **size})
    inner = ElementTree.SubElement(image, "stack")
    for index, layer in reversed(list(enumerate(stack.layers))):
        ElementTree.SubElement(
            inner,
            "layer",
            {
                "name": _NOT_XML.sub("", layer.name),
                "src": _source(index),
                "x": str(layer.left),
                "y": str(layer.top),
                "opacity": "1.0",
                "visibility": "visible" if layer.visible else "hidden",
                "composite-op": "svg:src-over",
            },
        )
    return ElementTree.tostring(image, "UTF-8", xml_declaration=True)


def _thumbnail(picture: Picture) -> bytes:
    small = Image.fromarray(picture.view)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = BytesIO()
    small.save(out, "PNG")
    return out.getvalue()
