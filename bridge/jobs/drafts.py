"""A draft in its job's folder, on its way from the lane where it was made to the processor's, where it is finished."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.backends.base import DraftLayer, Fetched
from bridge.files.disk import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAFT = "draft.json"
"""Written last: where it is, all of the draft is."""


@dataclass(frozen=True)
class LocalDraft:
    """What a model on this computer made. notes, cost: for the report."""

    layers: list[DraftLayer]
    notes: list[str]
    cost: float = 0.0


def write_fetched(folder: Path, fetched: Fetched) -> None:
    """Keep what was fetched of a service. Raises OutOfSpace."""
    for index, image in enumerate(fetched.images):
        write_whole(_piece(folder, index), [image])
    told = {**asdict(fetched), "images": len(fetched.images)}
    write_whole(folder / DRAFT, [json.dumps({"fetched": told}).encode()])


def write_local(folder: Path, draft: LocalDraft) -> None:
    """Keep a local model's layers. Raises OutOfSpace."""
    told: list[dict[str, Any]] = []
    for index, each in enumerate(draft.layers):
        layer = each.layer
        write_whole(_piece(folder, index), [layer.pixels.tobytes()])
        told.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "left": int(layer.left),  # splitters compute with numpy's numbers
                "top": int(layer.top),
                "shape": layer.pixels.shape,
                "dtype": layer.pixels.dtype.name,
                "canvas": (each.width, each.height),
            }
        )
    whole = {"local": {"layers": told, "notes": draft.notes, "cost": draft.cost}}
    write_whole(folder / DRAFT, [json.dumps(whole).encode()])


def has_draft(folder: Path) -> bool:
    """Whether a whole draft lies in the job's folder."""
    return (folder / DRAFT).is_file()


def read(folder: Path) -> Fetched | LocalDraft:
    """The draft in the job's folder. Raises OSError and ValueError where it is not whole."""
    told = json.loads((folder / DRAFT).read_bytes())
    if "fetched" in told:
        fetched = told["fetched"]
        images = [_piece(folder, index).read_bytes() for index in range(fetched.pop("images"))]
        return Fetched(images=images, **fetched)
    local = told["local"]
    layers = [_layer(_piece(folder, index), about) for index, about in enumerate(local["layers"])]
    return LocalDraft(layers, local["notes"], local["cost"])


def erase(folder: Path) -> None:
    """Remove the draft, once its layers are finished."""
    for path in (folder / DRAFT, *folder.glob("draft-*.bin")):
        path.unlink(missing_ok=True)


def _layer(path: Path, about: dict[str, Any]) -> DraftLayer:
    import numpy as np

    from bridge.picture import Layer

    shape: Sequence[int] = about["shape"]
    pixels = np.fromfile(path, np.dtype(about["dtype"])).reshape(shape)
    width, height = about["canvas"]
    return DraftLayer(Layer(about["name"], pixels, about["left"], about["top"], about["kind"]), width, height)


def _piece(folder: Path, index: int) -> Path:
    return folder / f"draft-{index:02}.bin"
