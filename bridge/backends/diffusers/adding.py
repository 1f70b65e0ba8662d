"""Adding a model: by a known name, from a folder or file of the user's own, or as an adapter to another model."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bridge.atomic_text import write_text
from bridge.backends.diffusers import catalogue, checks, download, library
from bridge.backends.diffusers.catalogue import Known, Located
from bridge.backends.diffusers.download import RemotePart
from bridge.backends.diffusers.headers import BadModel
from bridge.backends.diffusers.library import MODEL, PART, PARTS, Place, Record
from bridge.backends.shelf import Addition, Fetching
from bridge.errors import BadSettings, OutOfSpace, UnflattenError
from bridge.files.disk import RESERVE, explained

LOCK = ".lock"
GB = 10**9


@dataclass(frozen=True)
class Wish:
    """What is to be recorded, once `parts` are here. located: places in parts whose files are not known before."""

    name: str
    form: str
    base: Place | Located
    transformer: Place | Located
    text_encoder: Place | Located
    lora: Place | Located | None = None
    own: bool = False
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan(what: str, to: str = "") -> Addition:
    """What adding `what` would do; see ModelShelf.plan."""
    known = catalogue.find(what)
    wish = _known(known, to) if known else _own(Path(what).expanduser().absolute(), to)
    models = library.folder()
    wanted = [part for part in wish.parts if not library.part_is_whole(models / PARTS / part)]
    parts = download.listed(wanted)
    need = download.missing(models / PARTS, parts)
    free = _free(models)
    if need and free < need + RESERVE:
        raise OutOfSpace(
            f"“{wish.name}” does not fit: {need / GB:.1f} GB are to be fetched, and {free / GB:.1f} GB are free.",
            "Free some space, or set UNFLATTEN_MODELS to a folder on a larger disk.",
        )
    return Addition(wish.name, need, free, lambda tell: _carry_out(wish, parts, tell), wish.notes)


def locked(models: Path) -> FileLock:
    """Held while models are added or removed: one at a time. Raises UnflattenError."""
    with explained(models):
        models.mkdir(parents=True, exist_ok=True)
        lock = FileLock(models / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UnflattenError(
                "Another “unflatten models” is at work.", "Wait until it has ended.", code="busy", retryable=True
            ) from None
    return lock


def _known(known: Known, to: str) -> Wish:
    notes = (f"Licence: {known.licence}.", *known.notes)
    if known.lora is None:
        if to:
            raise BadSettings(f"“{known.name}” is no adapter to another model.", "Leave “--to” out.")
        places = (known.base, known.transformer, known.text_encoder)
        return Wish(known.name, known.form, *places, parts=known.parts, notes=notes)
    other = _carrier(to)
    if other is None:
        places = (known.base, known.transformer, known.text_encoder)
        return Wish(known.name, known.form, *places, known.lora, parts=known.parts, notes=notes)
    parts = (known.lora.part, *sorted(other.parts))
    places = (other.base, other.transformer, other.text_encoder)
    return Wish(known.name, other.form, *places, known.lora, other.own, parts, (f"With: {other.name}.", *notes))


def _own(path: Path, to: str) -> Wish:
    """Files of the user's own. They stay where they are."""
    if not path.exists():
        raise BadSettings(f"There is no model named “{path.name}”, nor such a file.", "Run “unflatten models”.")
    try:
        if path.is_dir() and (path / "model_index.json").is_file():
            found = checks.folder(path)
            places = [Place(str(path / part)) for part in ("", "transformer", "text_encoder")]
            _no_adapter(to)
            return Wish(_name_for(path, path / "transformer"), found.form, *places, own=True, notes=found.notes)
        base = next((each.base for each in library.installed()), None)
        found = checks.transformer_folder(path) if path.is_dir() else checks.single_file(path, checks.shape_in(base))
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}.", "Look at its permissions.") from None
    if found.form == "lora":
        return _adapter(path, to)
    _no_adapter(to)
    base, text_encoder, parts = _companions()
    name = _name_for(path, path)
    return Wish(name, found.form, base, Place(str(path)), text_encoder, None, True, parts, found.notes)


def _adapter(path: Path, to: str) -> Wish:
    other = _carrier(to)
    if other is None:
        raise BadSettings("There is no model yet that this adapter (LoRA) could be for.", "Add a model first.")
    name = _name_for(path, path)
    places = (other.base, other.transformer, other.text_encoder)
    parts = tuple(sorted(other.parts))
    return Wish(name, other.form, *places, Place(str(path)), True, parts, (f"With: {other.name}.",))


def _carrier(name: str) -> Record | None:
    """The model that an adapter is added to: the one named, or else the best that is here. Raises BadSettings."""
    records = {record.name: record for record in library.records() if record.lora is None}
    if name and name not in records:
        raise BadSettings(f"There is no model “{name}” here for the adapter.", "Run “unflatten models”.")
    here = [files.name for files in library.installed() if files.name in records]
    return records.get(name or (here[0] if here else ""))


def _companions() -> tuple[Place | Located, Place | Located, tuple[str, ...]]:
    """What a transformer alone needs beside it: what is here already, or else parts to be fetched."""
    records = {record.name: record for record in library.records()}
    for files in library.installed():
        record = records[files.name]
        return record.base, record.text_encoder, tuple(sorted({record.base.part, record.text_encoder.part} - {""}))
    return catalogue.BASE, catalogue.TEXT_ENCODER, (catalogue.BASE.part, catalogue.TEXT_ENCODER.part)


def _no_adapter(to: str) -> None:
    if to:
        raise BadSettings("This is no adapter (LoRA) to another model.", "Leave “--to” out.")


def _name_for(path: Path, weights: Path) -> str:
    """A name after the file's or folder's; the same again where these very weights are recorded already."""
    records = {record.name: record for record in library.records()}
    for record in records.values():
        if record.own and str(weights) in {place.path for place in (record.transformer, record.lora) if place}:
            return record.name
    stem = path.name if path.is_dir() else path.stem
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "model"
    taken = {*records, *(known.name for known in catalogue.KNOWN), PARTS}
    return next(name for name in (plain, *(f"{plain}-{number}" for number in range(2, 10_000))) if name not in taken)


def _carry_out(wish: Wish, parts: list[RemotePart], tell: Callable[[Fetching], None]) -> None:
    models = library.folder()
    with locked(models), explained(models):
        folder = models / PARTS
        folder.mkdir(exist_ok=True)
        for part in parts:  # one that lost a file is gone on with, and checked from its beginning
            if (folder / part.name).is_dir() and not (folder / f"{part.name}.part").exists():
                (folder / part.name).rename(folder / f"{part.name}.part")
        for part in download.fetch(folder, parts, tell):
            _finish(folder, part)
        base, transformer, text_encoder = (
            _place(models, place) for place in (wish.base, wish.transformer, wish.text_encoder)
        )
        _check(wish, base.resolve(models), transformer.resolve(models))
        lora = _place(models, wish.lora) if wish.lora else None
        _record(models, Record(wish.name, wish.form, base, transformer, text_encoder, lora, wish.own))


def _finish(folder: Path, part: RemotePart) -> None:
    """A part is whole: its list is written into it, and then it gets its name."""
    fresh = folder / f"{part.name}.part"
    files = {name: {"size": file.size, "sha256": file.sha256} for name, file in part.files.items()}
    for stray in [path for path in fresh.rglob("*") if path.is_file()]:
        if stray.relative_to(fresh).as_posix() not in files:
            stray.unlink()
    if part.name == catalogue.BASE.part:
        for config in sorted(checks.CONFIGS.rglob("*.json")):
            own = fresh / config.relative_to(checks.CONFIGS)
            if not own.exists():
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(config, own)
    told = {"repository": part.repository, "revision": part.revision, "files": files}
    write_text(fresh / PART, json.dumps(told, indent=1))
    shutil.rmtree(folder / part.name, ignore_errors=True)
    os.replace(fresh, folder / part.name)


def _check(wish: Wish, base: Path, transformer: Path) -> None:
    """Are the weights those of this model? What a hub has may change. Raises BadModel."""
    if transformer.is_dir():
        checks.transformer_folder(transformer)
    else:
        checks.single_file(transformer, checks.shape_in(base))


def _record(models: Path, record: Record) -> None:
    told = {
        "form": record.form,
        "own": record.own,
        **{name: asdict(place) for name, place in _named(record)},
    }
    (models / record.name).mkdir(exist_ok=True)
    write_text(models / record.name / MODEL, json.dumps(told, indent=1))


def _named(record: Record) -> Iterable[tuple[str, Place]]:
    yield from (("base", record.base), ("transformer", record.transformer), ("text_encoder", record.text_encoder))
    if record.lora:
        yield "lora", record.lora


def _place(models: Path, place: Place | Located) -> Place:
    """Where it is in its part, now that the part is here: a pattern becomes the file that fits it."""
    if isinstance(place, Place):
        return place
    found = sorted((models / PARTS / place.part).glob(place.path)) if "*" in place.path else []
    return Place(found[0].name if found else place.path, place.part)


def _free(folder: Path) -> int:
    """Bytes free where `folder` is, or would be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free
