"""Takes many pictures apart without a window: kritarunner -s unflatten.batch -f run -- IN… --out DIR

The lone -- is needed: without it kritarunner takes --out for an option of its own, and stops. IN is a picture, a
folder or a pattern; each becomes a layered .kra in DIR. What is done and unchanged is skipped, a result that was
edited since is not replaced, a bad file does not stop the others, and the exit code is the number of files that failed
(at most 100).
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .arguments import read_arguments
from .connection import check
from .errors import UnflattenError
from .job import Choices
from .krita_api import Krita, application
from .launch import Installation
from .manifest import Entry, Manifest, digest
from .qt import QCoreApplication
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
    """What holds for every file. out: the folder of the results."""

    app: Krita
    installation: Installation
    choices: Choices
    out: Path
    manifest: Manifest


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
    wanted.out.mkdir(parents=True, exist_ok=True)
    batch = Batch(app, installation, wanted.choices, wanted.out, Manifest(wanted.out))
    failures = 0
    for path in _found(wanted.inputs, wanted.out):
        line, failed = _one(path, batch)
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
            return f"{error.message} {error.hint}".rstrip()
    return ""


def _one(path: Path, batch: Batch) -> tuple[str, bool]:
    """Take one file apart: the line to print, and whether it failed."""
    began = time.monotonic()
    try:
        _check_readable(path)
        source = path.resolve()
        name = batch.manifest.name_for(source, ".kra")
        target, wanted = batch.out / name, Entry(str(source), digest(source), _how(batch.choices))
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
    return f"{path}: {layers} layers in {target.name}, {time.monotonic() - began:.1f} s", False


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise UnflattenError("There is no such file.")
    if path.stat().st_size == 0:
        raise UnflattenError("The file is empty.")


def _how(choices: Choices) -> str:
    """All that a result depends on besides its picture, as text."""
    return f"kra {json.dumps(choices.fields(), sort_keys=True, ensure_ascii=False)}"


def _split(path: Path, target: Path, batch: Batch) -> int:
    """Open, take apart, save under another name, rename, so that no result is half-written; the number of layers."""
    document = batch.app.openDocument(str(path))
    if document is None or document.rootNode() is None:
        raise UnflattenError(
            "Krita cannot open this file.", "It may be damaged, or of a kind that Krita does not know."
        )
    # openDocument resets the flag.
    document.setBatchmode(True)
    half = target.with_name(f".{target.stem}.half.kra")
    try:
        document.waitForDone()
        layers = _drive(Session(document, batch.choices, batch.installation, lambda stage: None))
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
    seen: list[Path] = []
    for each in inputs:
        place = Path(each)
        if place.is_dir():
            files = sorted(file for file in place.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
            # Its own results are not pictures to take apart again.
            files = [file for file in files if not _same_folder(file.parent, out)]
        elif not place.exists() and glob.has_magic(each):
            files = [Path(file) for file in sorted(glob.glob(each, recursive=True)) if Path(file).is_file()]
            if not files:
                files = [place]
        else:
            files = [place]
        for file in files:
            absolute = file.absolute()
            if absolute not in seen:
                seen.append(absolute)
                yield absolute


def _same_folder(one: Path, other: Path) -> bool:
    """Whether two paths are the same place; False where one of them is not there."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
