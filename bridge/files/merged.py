"""The flattened picture that an ORA or KRA file carries."""

import re
import zipfile
from collections.abc import Generator
from typing import BinaryIO
from xml.etree import ElementTree

from bridge.errors import BadPicture
from bridge.files.archive import open_archive, open_entry, png_depth
from bridge.files.blank import MOST_LAYERS, layers_show_more
from bridge.files.colour import Samples
from bridge.files.image_file import open_image
from bridge.files.raster import Raster, one_colour, picture_of

MERGED = "mergedimage.png"
KRITAS = "maindoc.xml"
LIST = "stack.xml"
MOST_XML = 2**20
_SPACE = re.compile(rb"<IMAGE\b[^>]*?\bcolorspacename=\"(\w{1,32})\"")


def open_merged(file: BinaryIO, name: str) -> Raster:
    """The merged image of the archive `file`. Raises BadPicture, and what decoders raise."""
    with open_archive(file, name) as archive:
        if MERGED not in archive.namelist():
            raise BadPicture(f"{name} holds no flattened picture.", "Open it in Krita and export it as PNG.")
        depth = png_depth(archive, MERGED, name)
        if depth is None:
            raise BadPicture(f"The flattened picture in {name} is damaged.", "Open it in Krita and save it anew.")
        with open_entry(archive, MERGED, name) as entry:
            raster = open_image(entry, name)
        if one_colour(raster.samples, raster.space) and LIST in archive.namelist():
            view = picture_of(raster).view
            if layers_show_more(_layers(archive, name), view[0, 0], view.shape[1], view.shape[0]):
                raise BadPicture(
                    f"The flattened picture in {name} is blank, though its layers are not.",
                    "Open it in Krita and save it anew, which flattens it, or export it as PNG.",
                )
        notes = (*_depth_note(archive, name, depth), *raster.notes)
    return Raster(raster.samples, raster.space, raster.profile, raster.dpi, notes)


def _depth_note(archive: zipfile.ZipFile, name: str, depth: int) -> tuple[str, ...]:
    """What is said where the document's own layers are deeper than its merged image."""
    bits = _kritas_depth(archive, name) if KRITAS in archive.namelist() else _deepest_layer(archive, name)
    if bits <= depth:
        return ()
    return (
        f"The document has {bits} bits per channel, and its flattened picture {depth}: {depth} bits were taken. "
        "Take it apart in Krita to keep its depth.",
    )


def _kritas_depth(archive: zipfile.ZipFile, name: str) -> int:
    """Bits of a channel of a Krita document, by the name of its colour space; 8 where it says nothing."""
    with open_entry(archive, KRITAS, name) as entry:
        found = _SPACE.search(entry.read(MOST_XML))
    space = found[1].decode().upper() if found else ""
    if space.endswith("F32"):
        return 32
    return 16 if space.endswith(("16", "LABA")) else 8


def _deepest_layer(archive: zipfile.ZipFile, name: str) -> int:
    names = [entry for entry in archive.namelist() if entry.startswith("data/") and entry.endswith(".png")]
    return max((png_depth(archive, layer, name) or 0 for layer in names[:MOST_LAYERS]), default=0)


def _layers(archive: zipfile.ZipFile, name: str) -> Generator[Samples]:
    """What an ORA's plain visible layers look like, from the top; those that cannot be opened are passed over."""
    with open_entry(archive, LIST, name) as file:
        listed = file.read(MOST_XML + 1)
    if len(listed) > MOST_XML or b"<!" in listed:  # a document's own entities can grow without end
        return
    try:
        sources = [layer.attrib["src"] for layer in _shown(ElementTree.fromstring(listed))]
    except (ElementTree.ParseError, KeyError, ValueError, RecursionError):
        return
    for source in sources[:MOST_LAYERS]:
        try:
            with open_entry(archive, source, name) as entry:
                yield picture_of(open_image(entry, name)).view
        except Exception:  # too small for a picture, or damaged in any way that decoders know
            continue


def _shown(stack: ElementTree.Element) -> list[ElementTree.Element]:
    """The layers in a stack and in those inside it, without what is hidden."""
    found: list[ElementTree.Element] = []
    for each in stack:
        if each.get("visibility") == "hidden" or float(each.get("opacity", "1")) == 0:
            continue
        if each.tag == "stack":
            found += _shown(each)
        elif each.tag == "layer" and each.get("composite-op", "svg:src-over") == "svg:src-over":
            found.append(each)
    return found
