"""The models that this backend offers, adds and removes."""

import shutil
from dataclasses import replace
from pathlib import Path

from bridge.backends.diffusers import adding, catalogue, environment, library
from bridge.backends.diffusers.adding import GB
from bridge.backends.diffusers.catalogue import Known
from bridge.backends.diffusers.library import PARTS, ModelFiles, Record
from bridge.backends.diffusers.machine import guess
from bridge.backends.diffusers.needs import best_of, fits
from bridge.backends.diffusers.plan import Machine
from bridge.backends.shelf import Addition, Finding, ModelOffer, Removed
from bridge.errors import BadSettings
from bridge.files.disk import explained

WORKSPACE_GB = 4.0
"""About what a picture of 640 × 640 needs beside the weights."""


class Shelf:
    """Qwen-Image-Layered in its forms, adapters to it, and what the user has of them."""

    def offers(self) -> list[ModelOffer]:
        """All that are known, then the user's own."""
        records = {record.name: record for record in library.records()}
        here = {files.name: files for files in library.installed()}
        machine = guess(environment.accelerator())
        best = _best(machine)
        known = [
            replace(_known_offer(known, known.name in here, machine), best=known.name == best)
            for known in catalogue.KNOWN
        ]
        names = {each.name for each in known}
        own = [_own_offer(record, here.get(name), machine) for name, record in records.items() if name not in names]
        return [*known, *own]

    def takes(self, what: str) -> bool:
        """Is it a name that is known, or something that lies there?"""
        return (
            catalogue.find(what) is not None
            or any(record.name == what for record in library.records())
            or (Path(what).expanduser().exists())
        )

    def plan(self, what: str, to: str = "") -> Addition:
        return adding.plan(what, to)

    def remove(self, name: str) -> Removed:
        """Its record, and the parts that no other model uses; an unfinished download of it too."""
        models = library.folder()
        records = {record.name: record for record in library.records()}
        record, known = records.pop(name, None), catalogue.find(name)
        parts = record.parts if record else frozenset(known.parts if known else ())
        there = [part for part in parts if _traces(models, part)]
        if record is None and not there:
            raise BadSettings(f"There is no model “{name}” here.", "Run “unflatten models” for those that there are.")
        used = {part for other in records.values() for part in other.parts}
        freed = 0
        with adding.locked(models), explained(models):
            shutil.rmtree(models / name, ignore_errors=True)
            for part in sorted(parts - used):
                for trace in _traces(models, part):
                    freed += _size(trace)
                    shutil.rmtree(trace)
        left = tuple(sorted({place.path for place in record.places if not place.part})) if record else ()
        return Removed(name, freed, left)

    def findings(self) -> list[Finding]:
        """The environment, the models that are here, and those that are not whole."""
        found = [_environment()]
        here = {files.name: files for files in library.installed()}
        for record in library.records():
            files = here.get(record.name)
            if files:
                size = (files.transformer_bytes + files.text_encoder_bytes) / GB
                found.append(Finding(f"Model “{record.name}”", f"whole, {size:.1f} GB, {record.form}"))
            else:
                remedy = "Put them back, or run “unflatten models remove”." if record.own else _again(record.name)
                found.append(Finding(f"Model “{record.name}”", "files of it are missing", False, remedy))
        unfinished = sum(_size(part) for part in (library.folder() / PARTS).glob("*.part"))
        if unfinished:
            told = f"{unfinished / GB:.1f} GB are here of a download that was broken off"
            found.append(Finding("Models", told, False, "Run the same “unflatten models add” again.", off=True))
        return found


def _environment() -> Finding:
    what = "Environment for models"
    if environment.python():
        return Finding(what, f"ready, for {environment.accelerator()} ({environment.root()})")
    if environment.root().exists():
        return Finding(what, "it was interrupted while it was made", False, environment.MAKE)
    return Finding(what, "not set up", False, environment.MAKE, off=True)


def _best(machine: Machine | None) -> str:
    """The name of the model that suits this computer best; empty where that cannot be told, or none does."""
    if machine is None:
        return ""
    forms = {
        known.name: (known.form, *known.gigabytes[:2])
        for known in catalogue.KNOWN
        if known.lora is None and (known.form != "bnb4" or machine.accelerator == "cuda")
    }
    return best_of(forms, machine)


def _known_offer(known: Known, here: bool, machine: Machine | None) -> ModelOffer:
    transformer, text_encoder, rest = known.gigabytes
    return ModelOffer(
        known.name,
        known.title,
        known.licence,
        round(transformer + text_encoder + rest, 1),
        _memory(transformer),
        here,
        reported=known.reported,
        fits=fits(machine, known.form, transformer, text_encoder) if machine else "",
        notes=known.notes,
    )


def _own_offer(record: Record, files: ModelFiles | None, machine: Machine | None) -> ModelOffer:
    transformer = files.transformer_bytes / GB if files else 0.0
    text_encoder = files.text_encoder_bytes / GB if files else 0.0
    return ModelOffer(
        record.name,
        f"Your own, {record.form}" + (", with an adapter (LoRA)" if record.lora else ""),
        "as where you have it from",
        round(transformer + text_encoder, 1),
        _memory(transformer) if files else "",
        files is not None,
        own=True,
        fits=fits(machine, record.form, transformer, text_encoder) if machine and files else "",
        notes=tuple(place.path for place in record.places if not place.part),
    )


def _memory(transformer: float) -> str:
    return f"{transformer + WORKSPACE_GB:.0f} GB on the GPU to hold it whole; less is slower"


def _traces(models: Path, part: str) -> list[Path]:
    return [path for path in (models / PARTS / part, models / PARTS / f"{part}.part") if path.exists()]


def _again(name: str) -> str:
    return f"Run “unflatten models add {name}”."


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
