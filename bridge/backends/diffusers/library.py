"""The models that are here: a folder of small records, and of the parts that models share.

    models/NAME/model.json          which parts a model is made of; written last
    models/parts/PART/part.json     a part's files, by size and sha256; the folder is renamed in place when whole

A user's own files stay where they lie: a record then names their path instead of a part. Needs no torch.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.backends.diffusers.environment import MAKE, python
from bridge.connection_file import data_dir
from bridge.errors import BackendUnavailable

MODEL = "model.json"
PART = "part.json"
PARTS = "parts"
FORMS = ("bf16", "fp8", "gguf", "bnb4")
"""Forms of a transformer's weights, the most faithful first."""
WEIGHTS = (".safetensors", ".gguf", ".bin")


@dataclass(frozen=True)
class ModelFiles:
    """Where a whole model's files lie.

    base: a folder in diffusers' layout with scheduler, vae, tokenizer, processor and every part's config.json.
    transformer: a folder in diffusers' layout, or one .safetensors or .gguf file. text_encoder: a folder. form: one of
    `FORMS`. lora: a .safetensors file. The bytes are those of the weights on the disk.
    """

    name: str
    base: Path
    transformer: Path
    text_encoder: Path
    form: str
    lora: Path | None = None
    transformer_bytes: int = 0
    text_encoder_bytes: int = 0


@dataclass(frozen=True)
class Place:
    """Where one of a model's files or folders is: `path` within the part named `part`, or an own, absolute path."""

    path: str
    part: str = ""

    def resolve(self, models: Path) -> Path:
        return models / PARTS / self.part / self.path if self.part else Path(self.path)


@dataclass(frozen=True)
class Record:
    """What a model.json says. own: the user added it by a path."""

    name: str
    form: str
    base: Place
    transformer: Place
    text_encoder: Place
    lora: Place | None = None
    own: bool = False

    @property
    def places(self) -> tuple[Place, ...]:
        return (self.base, self.transformer, self.text_encoder, *([self.lora] if self.lora else []))

    @property
    def parts(self) -> frozenset[str]:
        """The names of the parts that it shares with others."""
        return frozenset(place.part for place in self.places if place.part)


def folder() -> Path:
    """Where models are kept. UNFLATTEN_MODELS overrides it."""
    override = os.environ.get("UNFLATTEN_MODELS")
    return Path(override) if override else data_dir() / "models"


def installed() -> list[ModelFiles]:
    """The models that are wholly here, the most faithful first; of the same form the larger first."""
    found = [files for record in records() if (files := _files(record))]
    return sorted(
        found,
        key=lambda each: (each.lora is not None, FORMS.index(each.form), -each.transformer_bytes, each.name),
    )


def find(name: str) -> ModelFiles:
    """The model of that name, “” for the first there is. Raises BackendUnavailable with what to do."""
    if python() is None:
        raise BackendUnavailable("What models need to run here is not set up.", MAKE)
    found = installed()
    if not found and not name:
        raise BackendUnavailable(
            "There is no model on this computer yet.",
            "Run “unflatten models”, which says what fits it, then “unflatten models add NAME”.",
        )
    for files in found:
        if name in ("", files.name):
            return files
    begun = any(record.name == name for record in records())
    what = "not whole: files of it are missing" if begun else "not on this computer"
    raise BackendUnavailable(f"The model “{name}” is {what}.", f"Run “unflatten models add {name}”.")


def records() -> list[Record]:
    """All that is recorded, whole or not, by name; what cannot be read is left out."""
    try:
        entries = sorted(folder().iterdir())
    except OSError:
        return []
    found = (read(entry) for entry in entries if entry.name != PARTS)
    return [record for record in found if record]


def read(model: Path) -> Record | None:
    """What the folder `model` records; None where that is nothing, or damaged."""
    try:
        told = json.loads((model / MODEL).read_text("utf-8"))
        form = str(told["form"])
        lora = _place(told["lora"]) if told.get("lora") else None
        base, transformer, text_encoder = (_place(told[role]) for role in ("base", "transformer", "text_encoder"))
        own = bool(told.get("own"))
        return Record(model.name, form, base, transformer, text_encoder, lora, own) if form in FORMS else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def part_is_whole(part: Path) -> bool:
    """Is everything there that the folder's part.json names, at its size?"""
    files = part_files(part)
    return bool(files) and all(_size(part / name) == told["size"] for name, told in files.items())


def part_files(part: Path) -> dict[str, dict[str, Any]]:
    """A part's files: name → size and sha256. Empty where it is none, or damaged."""
    try:
        files = json.loads((part / PART).read_text("utf-8"))["files"]
        return {str(name): {"size": int(each["size"]), "sha256": str(each["sha256"])} for name, each in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def weight(path: Path) -> int:
    """Bytes of the weights in a file, or in a folder's files."""
    files = [path] if path.is_file() else path.rglob("*") if path.is_dir() else []
    return sum(_size(file) for file in files if file.suffix in WEIGHTS)


def _files(record: Record) -> ModelFiles | None:
    models = folder()
    if not all(part_is_whole(models / PARTS / part) for part in record.parts):
        return None
    base, transformer, text_encoder = (
        place.resolve(models) for place in (record.base, record.transformer, record.text_encoder)
    )
    lora = record.lora.resolve(models) if record.lora else None
    if not all(path.exists() for path in (base, transformer, text_encoder, *([lora] if lora else []))):
        return None
    return ModelFiles(
        record.name, base, transformer, text_encoder, record.form, lora, weight(transformer), weight(text_encoder)
    )


def _place(told: Mapping[str, Any]) -> Place:
    return Place(str(told["path"]), str(told.get("part", "")))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1
