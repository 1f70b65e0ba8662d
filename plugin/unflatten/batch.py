"""Takes many pictures apart without a window: kritarunner -s unflatten.batch -f run -- IN… --out DIR

The lone -- is needed: without it kritarunner takes --out for an option of its own, and stops. IN is a picture, a
folder or a pattern; each becomes a layered .kra in DIR. What is done and unchanged is skipped, a result that was
edited since is not replaced, a bad file does not stop the others, and the exit code is the number of files that failed
(at most 100).
"""

from __future__ import annotations

import glob
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .arguments import read_arguments
from .connection import check
from .errors import UnflattenError
from .job import Choices
from .krita_api import Krita, application
from .launch import Installation, in_full
from .manifest import Entry, Manifest, digest
from .qt import QCoreApplication
from .questions import Questions
from .session import Ending, Session

# What Krita opens with pixels in it; in a folder anything else is left alone.
PICTURES = {
    ".kra", ".krz", ".ora", ".png", ".jpg", ".jpeg", ".psd", ".psb", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".tga",
    ".xcf", ".jxl", ".avif", ".heic", ".heif", ".jp2", ".ppm",
}  # fmt: skip
MOST_FAILURES = 100
USAGE_ERROR = 120
# What the bridge answers to settings, options or a backend that it cannot use.
_BAD_CHOICES = ("bad_settings", "backend_unavailable")
# Seconds for one file.
_TIME_LIMIT = 1800.0
# Seconds between two looks at what has arrived.
_TICK = 0.005


def run(arguments: Iterable[str]) -> None:
    """What kritarunner calls. Ends the process: kritarunner would exit with 0 whatever happens, or crash at its end."""
    code = 1
    for stream in (sys.stdout, sys.stderr):
        # A name may hold what a terminal cannot show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = main([str(each) for each in arguments])
    except SystemExit as end:
        code = USAGE_ERROR if end.code else 0
    except BaseException as error:
        print(f"Unflatten stopped: {type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass(frozen=True)
class Batch:
    """What holds for every file. keep_original: as Session has it. out: the folder of the results."""

    app: Krita
    installation: Installation
    choices: Choices
    keep_original: bool
    out: Path
    manifest: Manifest


@dataclass(frozen=True)
class Result:
    """What a file is to become: a name in the folder of the results, and what stands in its list."""

    name: str
    entry: Entry


def main(arguments: list[str]) -> int:
    """The number of files that failed, at most MOST_FAILURES; USAGE_ERROR where an argument cannot be used."""
    wanted = read_arguments(arguments)
    app = application()
    # Without this, and each document's own flag, Krita would ask about the file and wait for ever.
    app.setBatchmode(True)
    try:
        installation = Installation.read()
    except UnflattenError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 1
    problem = _problem(installation, wanted.choices)
    if problem:
        print(problem, file=sys.stderr)
        return USAGE_ERROR
    try:
        wanted.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=wanted.out).close()
    except OSError as error:
        print(f"Nothing can be written to {wanted.out}: {error.strerror}. Choose another folder.", file=sys.stderr)
        return USAGE_ERROR
    batch = Batch(app, installation, wanted.choices, wanted.keep_original, wanted.out, Manifest(wanted.out))
    failures = 0
    for path, result in _results(list(_found(wanted.inputs, wanted.out)), batch):
        line, failed = _one(path, result, batch) if isinstance(result, Result) else (result, True)
        failures += failed
        print(line, flush=True)
    return min(failures, MOST_FAILURES)


def _problem(installation: Installation, choices: Choices) -> str:
    """Why no file can be taken apart with these choices; empty where that is not known.

    A bridge that does not start is no such reason: each file that needs it says so, and those that are done do not.
    """
    try:
        check(installation, choices)
    except UnflattenError as error:
        if error.code in _BAD_CHOICES:
            return in_full(f"{error.message} {error.hint}".rstrip(), installation)
    return ""


def _results(paths: list[Path], batch: Batch) -> Iterator[tuple[Path, Result | str]]:
    """What each file is to become; a line where it cannot be read."""
    entries: dict[Path, Entry | str] = {}
    for path in paths:
        try:
            _check_readable(path)
            entries[path] = Entry(os.path.realpath(path), digest(path), _how(batch))
        except UnflattenError as error:
            entries[path] = f"{path}: FAILED: {error.message} {error.hint}".rstrip()
        except OSError as error:
            entries[path] = f"{path}: FAILED: {error.strerror or error}"
    readable = [entry for entry in entries.values() if isinstance(entry, Entry)]
    names = iter(batch.manifest.names(readable, ".kra"))
    for path, entry in entries.items():
        yield path, Result(next(names), entry) if isinstance(entry, Entry) else entry


def _one(path: Path, result: Result, batch: Batch) -> tuple[str, bool]:
    """Take one file apart: the line to print, and whether it failed."""
    began = time.monotonic()
    try:
        name, wanted = result.name, result.entry
        target = batch.out / name
        if batch.manifest.holds(name, wanted):
            return f"{path}: unchanged, {name} is there", False
        if target.exists() and not batch.manifest.owns(name):
            raise UnflattenError(f"{target} was edited since it was made.", "Move or rename it, then run this again.")
        layers = _split(path, target, batch)
        # Written after every file, so that a batch that is stopped goes on where it was.
        batch.manifest.write({name: replace(wanted, result=digest(target))})
    except UnflattenError as error:
        return f"{path}: FAILED: {error.message} {error.hint}".rstrip(), True
    except OSError as error:
        return f"{path}: FAILED: {error.strerror or error}", True
    except Exception as error:
        return f"{path}: FAILED: something went wrong ({type(error).__name__}: {error})", True
    return f"{path}: {layers} layer{'s' * (layers != 1)} in {target.name}, {time.monotonic() - began:.1f} s", False


def _check_readable(path: Path) -> None:
    if os.path.isdir(path):
        raise UnflattenError("The folder cannot be read.", "Change its permissions.")
    if not os.path.isfile(path):
        raise UnflattenError("There is no such file.")
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise UnflattenError("Krita opens no file whose name is not UTF-8.", "Rename it.") from None
    with path.open("rb") as file:
        if not file.read(1):
            raise UnflattenError("The file is empty.")


def _how(batch: Batch) -> str:
    """All that a result depends on besides its picture, as text."""
    kept = " original kept visible" if batch.keep_original else ""
    return f"kra{kept} {json.dumps(batch.choices.fields(), sort_keys=True, ensure_ascii=False)}"


def _split(path: Path, target: Path, batch: Batch) -> int:
    """Open, take apart, save under another name, rename, so that no result is half-written; the number of layers."""
    with Questions() as questions:
        document = batch.app.openDocument(str(path))
    if questions.asked:
        if document is not None:
            document.setBatchmode(True)
            document.setModified(False)
            document.close()
        raise UnflattenError(
            f"Krita asks about it: “{questions.asked[0]}”", "Open it in Krita, answer, save it, then run this again."
        )
    if document is None or document.rootNode() is None:
        raise UnflattenError(
            "Krita cannot open this file.", "It may be damaged, or of a kind that Krita does not know."
        )
    # openDocument resets the flag.
    document.setBatchmode(True)
    half = target.with_name(f".{target.stem[:40]}.half.kra")
    try:
        document.waitForDone()
        layers = _drive(Session(document, batch.choices, batch.installation, lambda stage: None, batch.keep_original))
        document.waitForDone()
        if not document.saveAs(str(half)) or not half.is_file():
            raise UnflattenError(f"Krita could not write {target}.", "Is the disk full, or the folder read-only?")
        os.replace(half, target)
        return layers
    finally:
        # saveAs has made `half` the document's own file: it is deleted after the document is closed.
        document.setModified(False)
        document.close()
        if half.exists():
            half.unlink()


def _drive(session: Session) -> int:
    """Run a session to its end: kritarunner has no event loop, so nothing happens that is not asked for."""
    end = time.monotonic() + _TIME_LIMIT
    while (outcome := session.step()) is None:
        QCoreApplication.processEvents()
        time.sleep(_TICK)
        if time.monotonic() > end:
            session.cancel()
            raise UnflattenError(f"It was not done within {_TIME_LIMIT / 60:.0f} minutes.")
    if outcome.ending is not Ending.DONE:
        raise UnflattenError(outcome.message, outcome.hint)
    if outcome.attention:
        print(f"  note: {outcome.message}", flush=True)
    return int(session.report.get("layers", 0))


def _found(inputs: Iterable[str], out: Path) -> Iterator[Path]:
    """The files meant, each once, in the order given; folders and patterns in the order of names."""
    seen: set[str] = set()
    for each in inputs:
        place = Path(each)
        if os.path.isdir(place):
            files = list(_in_folder(place, out))
        elif not place.exists() and glob.has_magic(each):
            files = [Path(file) for file in sorted(glob.glob(each, recursive=True)) if Path(file).is_file()]
            if not files:
                files = [place]
        else:
            files = [place]
        for file in files:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield file.absolute()


def _in_folder(folder: Path, out: Path) -> Iterator[Path]:
    """The pictures in a folder; the folder itself where it cannot be read."""
    # A batch's own results are not pictures to take apart again.
    if _same_folder(folder, out):
        return
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        yield folder
        return
    for name in names:
        if os.path.splitext(name)[1].lower() in PICTURES and os.path.isfile(folder / name):
            yield folder / name


def _same_folder(one: Path, other: Path) -> bool:
    """Whether two paths are the same place; False where one of them is not there."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
