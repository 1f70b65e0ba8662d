"""Many pictures into their layers: which are to be done, and what became of each."""

import asyncio
import json
import os
from collections.abc import Generator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from bridge.backends import registry
from bridge.command import price, workers
from bridge.command.interrupt import Interrupt
from bridge.command.run import Outcome, opened, remove_leftovers, request_for, run_jobs
from bridge.command.sources import Found
from bridge.command.wanted import Wanted
from bridge.errors import BadSettings, UnflattenError
from bridge.files.disk import explained
from bridge.files.save import CannotSave, Format, check_writable
from bridge.jobs.job import JobRequest, Progressed
from bridge.manifest import MANIFEST_FILE, Entry, Manifest, digest

MEMORY_EACH = 2 * 2**30
"""Bytes that splitting one picture of a few megapixels takes at most."""
CORES_EACH = 2
"""Cores that one picture keeps busy: with more workers than that they wait for each other."""
LOCK = ".unflatten-batch.lock"


@dataclass(frozen=True)
class Result:
    """What became of one picture: an outcome, a problem, or neither where it had been done before."""

    source: Path
    target: Path
    outcome: Outcome | None = None
    problem: UnflattenError | None = None


@dataclass(frozen=True)
class Batch:
    """What is wanted of every picture. workers: how many at once; None for as many as help."""

    folder: Path
    kind: Format
    wanted: Wanted
    workers: int | None = None


class View(Protocol):
    """Shows how far the pictures are. Its block is where it may draw."""

    def say(self, sentence: str) -> None: ...

    def drawing(self, total: int) -> AbstractContextManager[object]: ...

    def progress(self, source: Path, step: Progressed) -> None: ...

    def show(self, result: Result) -> None: ...


def format_named(name: str) -> Format:
    """The format of that name. Raises BadSettings."""
    if name not in ("ora", "psd", "png"):
        raise BadSettings(f"There is no format “{name}”.", "Choose ora, psd or png.")
    return name


def worker_count(pictures: int, cores: int, memory: int) -> int:
    """As many workers as help: bounded by the pictures, by the cores and by the free memory in bytes."""
    return max(1, min(pictures, -(-cores // CORES_EACH), memory // MEMORY_EACH))


async def run_batch(found: Found, batch: Batch, view: View, interrupt: Interrupt) -> bool:
    """Split every picture that is not done yet, and show what became of each; False where the user asked to stop.

    Raises UnflattenError where none can be split.
    """
    requests: list[JobRequest] = []
    sources = found.pictures
    try:
        count = batch.workers or _worker_count(len(sources))
        async with workers.started() as pool, opened(batch.wanted.chosen, pool, count) as engine:
            _make_folder(batch.folder)
            for sentence in (batch.wanted.note, price.told(batch.wanted.chosen, batch.wanted.settings, len(sources))):
                view.say(sentence)
            with alone(batch.folder), view.drawing(len(sources) + len(found.problems)):
                view.say(found.note)
                for path, problem in found.problems.items():
                    view.show(Result(path, batch.folder, problem=problem))
                manifest = Manifest(batch.folder)
                todo = await _to_be_done(sources, batch, manifest, view)
                # Written before the work: what a crash leaves is then known to be ours, and made anew.
                _keep(manifest, batch.folder, {result.target.name: entry for result, entry in todo})
                requests += (_request(result, entry, batch) for result, entry in todo)
                started = {request.id: each for request, each in zip(requests, todo, strict=True)}
                happenings = run_jobs(engine, requests, interrupt, spare_begun=True)
                async with aclosing(happenings):
                    async for request, happening in happenings:
                        await _take(happening, *started[request.id], batch, manifest, view)
    finally:
        remove_leftovers(requests)
    return not interrupt.asked


async def _to_be_done(sources: list[Path], batch: Batch, manifest: Manifest, view: View) -> list[tuple[Result, Entry]]:
    """The pictures that are to be split, and what is to stand in the list of each; the others are shown."""
    todo: list[tuple[Result, Entry]] = []
    how = _how(batch)
    entries = [Entry(os.path.realpath(source), await asyncio.to_thread(digest, source), how) for source in sources]
    names = manifest.names(entries, "" if batch.kind == "png" else f".{batch.kind}")
    for source, entry, name in zip(sources, entries, names, strict=True):
        result = Result(source, batch.folder / name)
        if manifest.holds(name, entry):
            if manifest.unsettled(name):
                await _settle(result.target, entry, manifest)
            view.show(result)
        elif result.target.exists() and not manifest.owns(name):
            view.show(replace(result, problem=_edited(result.target)))
        else:
            todo.append((result, replace(entry, fresh=not os.path.lexists(result.target))))
    return todo


async def _take(
    happening: Progressed | Outcome | UnflattenError,
    result: Result,
    entry: Entry,
    batch: Batch,
    manifest: Manifest,
    view: View,
) -> None:
    """Show what happened to a picture; write down that it is done."""
    match happening:
        case Progressed():
            view.progress(result.source, happening)
        case Outcome():
            await _settle(result.target, entry, manifest)
            view.show(replace(result, outcome=happening))
        case UnflattenError():
            if happening.kind != "cancelled":
                view.show(replace(result, problem=happening))


async def _settle(target: Path, entry: Entry, manifest: Manifest) -> None:
    """Write down that a result is saved, and as what: from now on an edit of it is told from it."""
    saved = replace(entry, result=await asyncio.to_thread(digest, target))
    _keep(manifest, target.parent, {target.name: saved})


def _request(result: Result, entry: Entry, batch: Batch) -> JobRequest:
    return request_for(result.source, result.target, batch.kind, batch.wanted, entry.picture, batch=True)


def _worker_count(pictures: int) -> int:
    import psutil

    return worker_count(pictures, os.cpu_count() or 1, psutil.virtual_memory().available)


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Keep other batches out of `folder`: each would take the other's results for the user's own. Raises CannotSave.

    The lock's file stays. Were it removed, who had opened it before would lock a file that nobody else sees any more.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CannotSave(
            f"Another batch is working in {folder}.", "Wait until it is done, then run this again."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _keep(manifest: Manifest, folder: Path, entries: dict[str, Entry]) -> None:
    with explained(folder / MANIFEST_FILE):
        manifest.write(entries)


def _make_folder(folder: Path) -> None:
    """Make the folder of the results, where there is none. Raises CannotSave where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except OSError as problem:
        raise CannotSave(f"{folder} cannot be made: {problem.strerror}.", "Choose another folder.") from None


def _how(batch: Batch) -> str:
    """How results are made, for the list: as it was written when there was one backend without options, where it is."""
    name, options = batch.wanted.chosen.name, batch.wanted.options
    told = f"{batch.kind} {name if name != registry.default() else ''} {batch.wanted.settings.model_dump_json()}"
    return f"{told} {json.dumps(options, sort_keys=True)}" if options else told


def _edited(target: Path) -> CannotSave:
    return CannotSave(f"{target} was edited since it was made.", "Move or rename it, then run this again.")
