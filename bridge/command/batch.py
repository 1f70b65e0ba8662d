"""Many pictures into their layers: which are to be done, and what became of each."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from bridge.backends.base import Remote
from bridge.command import crew, remote
from bridge.command.crew import OnProgress, worker_count
from bridge.command.split import Order, Outcome
from bridge.command.submitted import Submission
from bridge.errors import BadPicture, UnflattenError
from bridge.files.disk import explained
from bridge.files.load import ENDINGS
from bridge.files.save import CannotSave, Format
from bridge.jobs.local import chosen, load_able
from bridge.manifest import MANIFEST_FILE, Entry, Manifest, digest
from bridge.preferences import DEFAULT_BACKEND
from bridge.settings import Settings

LOCK = ".unflatten-batch.lock"


@dataclass(frozen=True)
class Result:
    """What became of one picture: an outcome, a problem, or neither where it had been done before."""

    source: Path
    target: Path
    outcome: Outcome | None = None
    problem: UnflattenError | None = None

    @property
    def skipped(self) -> bool:
        return self.outcome is None and self.problem is None


@dataclass(frozen=True)
class Batch:
    """What is wanted of every picture. workers: how many at once; None for as many as help."""

    folder: Path
    kind: Format
    settings: Settings
    backend: str | None = None
    workers: int | None = None


def pictures_in(named: list[Path], output: Path) -> list[Path]:
    """The pictures named, and those in the folders named (not in folders inside them), each once, in order.

    output: where results go; what a batch has put there is taken only where it is named itself.
    """
    found: dict[Path, None] = {}
    results = Manifest(output).results()
    for path in named:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in inside:
            if file == path or (_is_picture(file) and file.resolve() not in results):
                found[file] = None
    if not found:
        raise BadPicture("There are no pictures there.", f"Taken are files that end in {', '.join(ENDINGS)}.")
    return list(found)


def _is_picture(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in ENDINGS and not file.name.startswith(".")


def run_batch(
    sources: list[Path], batch: Batch, on_progress: OnProgress, cancelled: Callable[[], bool]
) -> Iterator[Result]:
    """Split every picture that is not done yet; yields what became of each, those done before first."""
    with _alone(batch.folder):
        manifest = Manifest(batch.folder)
        orders: dict[Order, Entry] = {}
        for source, name in _named(sources, batch, manifest).items():
            order = Order(source, batch.folder / name, batch.kind, batch.settings, batch.backend)
            wanted = Entry(str(source.resolve()), digest(source), _how(batch))
            if not source.exists():
                yield Result(source, order.target, problem=BadPicture(f"There is no file {source}.", "Check its name."))
            elif manifest.holds(name, wanted):
                yield Result(source, order.target)
            elif order.target.exists() and not manifest.owns(name):
                yield Result(source, order.target, problem=_not_ours(order.target))
            else:
                orders[order] = wanted
        # Written before the work: what a crash leaves is then known to be ours, and made anew.
        _keep(manifest, batch.folder, {order.target.name: wanted for order, wanted in orders.items()})
        for order, outcome in _work_through(orders, batch, on_progress, cancelled):
            if isinstance(outcome, UnflattenError):
                yield Result(order.source, order.target, problem=outcome)
            else:
                saved = replace(orders[order], result=digest(order.target))
                _keep(manifest, batch.folder, {order.target.name: saved})
                yield Result(order.source, order.target, outcome)


def _work_through(
    orders: dict[Order, Entry], batch: Batch, on_progress: OnProgress, cancelled: Callable[[], bool]
) -> Iterator[tuple[Order, crew.Result]]:
    name = chosen(batch.backend)
    backend = load_able(name) if orders and name != DEFAULT_BACKEND else None
    if isinstance(backend, Remote):
        how = f"{name} {batch.settings.model_dump_json()}"
        sent = [(order, Submission(wanted.picture, how, order.target)) for order, wanted in orders.items()]
        return remote.work_through(sent, backend, on_progress, cancelled)
    workers = batch.workers or worker_count(len(orders), os.cpu_count() or 1, psutil.virtual_memory().available)
    return crew.work_through(orders, workers, on_progress, cancelled)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Two batches into one folder would undo each other's list."""
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
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def _keep(manifest: Manifest, folder: Path, entries: dict[str, Entry]) -> None:
    with explained(folder / MANIFEST_FILE):
        manifest.write(entries)


def _how(batch: Batch) -> str:
    backend = batch.backend or chosen()
    return f"{batch.kind} {backend if backend != DEFAULT_BACKEND else ''} {batch.settings.model_dump_json()}"


def _not_ours(target: Path) -> CannotSave:
    return CannotSave(
        f"{target} is there already, and is not as a batch made it.", "Move or rename it, then run this again."
    )


def _named(sources: list[Path], batch: Batch, manifest: Manifest) -> dict[Path, str]:
    """A name for each picture's result: its own with another ending, or its full name where two would share one."""
    ending = "" if batch.kind == "png" else f".{batch.kind}"
    shared = Counter((source.stem + ending).lower() for source in sources)
    names: dict[Path, str] = {}
    for source in sources:
        name = source.stem + ending
        others = manifest.source_of(name) not in (None, str(source.resolve()))
        if shared[name.lower()] > 1 or others or (batch.folder / name).resolve() == source.resolve():
            name = source.name + (ending or "-layers")
        names[source] = name
    return names
