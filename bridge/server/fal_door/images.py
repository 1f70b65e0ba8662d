"""A result's layers as image files, each as large as the picture: made by the worker, one after the other."""

from typing import Any

from bridge.errors import UnflattenError
from bridge.jobs.journal import Entry
from bridge.jobs.reasons import LayersGone
from bridge.jobs.spool import Spool
from bridge.jobs.workshop import Workshop
from bridge.server.fal_door.files import new_name
from bridge.server.fal_door.intake import ask_patiently

LARGEST_WEBP = 16_383
"""Pixels of a side; the format has no more."""
PATIENCE = 600.0


def file_name(index: int, kind: str) -> str:
    """What a layer's file is called, counted from the back."""
    return f"layer-{index + 1:02}.{kind}"


async def save_images(entry: Entry, spool: Spool, workshop: Workshop) -> list[dict[str, Any]]:
    """Save the layers of a job that is done; of each {name, kind, nbytes, unsafe}, back to front.

    name: 256 bits that its address will hold; unsafe: what the safety checker found, False where it was not asked.
    Raises UnflattenError.
    """
    kind = entry.settings.get("output_format", "png")
    if kind == "webp" and max(entry.width, entry.height) > LARGEST_WEBP:
        raise UnflattenError(
            f"A WebP file has at most {LARGEST_WEBP} pixels a side.", "Ask for png.", code="image_too_large"
        )
    check = bool(entry.settings.get("enable_safety_checker", True))
    folder = str(spool.folder(entry.id).absolute())
    size = (entry.width, entry.height)
    images: list[dict[str, Any]] = []
    for index, layer in enumerate(entry.layers or ()):
        if not spool.has_layer(entry.id, index, entry.layer_nbytes(layer)):
            raise LayersGone()
        order = {"folder": folder, "index": index, "rect": layer.rect, "size": size, "kind": kind, "check": check}
        told = await ask_patiently(workshop, "encode", patience=PATIENCE, **order)
        images.append({"name": new_name(), "kind": kind, "nbytes": told["nbytes"], "unsafe": told["unsafe"]})
    return images
