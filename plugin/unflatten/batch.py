"""Takes many pictures apart without a window: kritarunner -s unflatten.batch -f run -- IN… --out DIR

The lone -- is needed: without it kritarunner takes --out for an option of its own, and stops. IN is a picture, a
folder or a pattern; each becomes a layered .kra in DIR. What is done and unchanged is skipped, a result that was
edited since is not replaced, a bad file does not stop the others, and the exit code is the number of files that failed
(at most 100).
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from krita import Krita

from .launch import Installation, Trouble
from .manifest import Entry, Manifest, digest
from .qt import QCoreApplication
from .session import Ending, Session, Wishes

# What Krita opens with pixels in it; in a folder anything else is left alone.
PICTURES = {
    ".kra", ".krz", ".ora", ".png", ".jpg", ".jpeg", ".psd", ".psb", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".tga",
    ".xcf", ".jxl", ".avif", ".heic", ".heif", ".jp2", ".ppm",
}  # fmt: skip
MOST_FAILURES = 100
USAGE_ERROR = 120
_PATIENCE = 1800.0
_TICK = 0.005


def run(arguments: Iterable[str]) -> None:
    """kritarunner's door. It exits with 0 whatever happens, and may crash while it closes, so the process ends here."""
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

    app: Any
    installation: Installation
    wishes: Wishes
    out: Path
    manifest: Manifest


def main(arguments: list[str]) -> int:
    """The number of files that failed, at most MOST_FAILURES."""
    options = _parser().parse_args(arguments)
    app = Krita.instance()
    # Without this, and each document's own flag, Krita would ask about the file and wait for ever.
    app.setBatchmode(True)
    try:
        installation = Installation.read()
    except Trouble as trouble:
        print(f"{trouble.message} {trouble.hint}", file=sys.stderr)
        return 1
    wishes = Wishes(num_layers=options.layers, seed=options.seed, backend=options.backend, batch=True)
    options.out.mkdir(parents=True, exist_ok=True)
    batch = Batch(app, installation, wishes, options.out, Manifest(options.out))
    failures = 0
    for path in _found(options.inputs, options.out):
        line, failed = _one(path, batch)
        failures += failed
        print(line, flush=True)
    return min(failures, MOST_FAILURES)


def _one(path: Path, batch: Batch) -> tuple[str, bool]:
    """Take one file apart: the line to print, and whether it failed."""
    began = time.monotonic()
    try:
        _check_readable(path)
        source = path.resolve()
        name = batch.manifest.name_for(source, ".kra")
        target, wanted = batch.out / name, Entry(str(source), digest(source), _how(batch.wishes))
        if batch.manifest.holds(name, wanted):
            return f"{path}: unchanged, {name} is there", False
        if target.exists() and not batch.manifest.owns(name):
            raise Trouble(f"{target} was edited since it was made.", "Move or rename it, then run this again.")
        layers = _split(path, target, batch)
        # Written after every file, so that a batch that is stopped goes on where it was.
        batch.manifest.write({name: replace(wanted, result=digest(target))})
    except Trouble as trouble:
        return f"{path}: FAILED: {trouble.message} {trouble.hint}".rstrip(), True
    except OSError as error:
        return f"{path}: FAILED: {error.strerror or error}", True
    except Exception as error:
        return f"{path}: FAILED: something went wrong ({type(error).__name__}: {error})", True
    return f"{path}: {layers} layers in {target.name}, {time.monotonic() - began:.1f} s", False


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise Trouble("There is no such file.")
    if path.stat().st_size == 0:
        raise Trouble("The file is empty.")


def _how(wishes: Wishes) -> str:
    """All that a result depends on besides its picture, as text."""
    chosen = {"backend": wishes.backend, "settings": wishes.settings()}
    return f"kra {json.dumps(chosen, sort_keys=True, ensure_ascii=False)}"


def _split(path: Path, target: Path, batch: Batch) -> int:
    """Open, take apart, save under another name, rename: a file that stands there is whole."""
    document = batch.app.openDocument(str(path))
    if document is None or document.rootNode() is None:
        raise Trouble("Krita cannot open this file.", "It may be damaged, or of a kind that Krita does not know.")
    # openDocument resets the flag.
    document.setBatchmode(True)
    half = target.with_name(f".{target.stem}.half.kra")
    try:
        document.waitForDone()
        layers = _drive(Session(document, batch.wishes, batch.installation, lambda stage: None))
        document.waitForDone()
        if not document.saveAs(str(half)) or not half.is_file():
            raise Trouble(f"Krita could not write {target}.", "Is the disk full, or the folder read-only?")
        os.replace(half, target)
        return layers
    finally:
        # saveAs has made it the document's own file, so only now may it go.
        document.setModified(False)
        document.close()
        if half.exists():
            half.unlink()


def _drive(session: Session) -> int:
    """Run a session to its end: kritarunner has no event loop, so nothing happens that is not asked for."""
    end = time.monotonic() + _PATIENCE
    while session.step():
        QCoreApplication.processEvents()
        time.sleep(_TICK)
        if time.monotonic() > end:
            session.cancel()
            raise Trouble(f"It was not done within {_PATIENCE / 60:.0f} minutes.")
    outcome = session.outcome
    if outcome is None or outcome.ending is not Ending.DONE:
        raise Trouble(outcome.message, outcome.hint) if outcome else Trouble("It ended without a result.")
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


def _layers(text: str) -> str | int:
    if text == "auto":
        return text
    number = int(text)
    if not 1 <= number <= 10:
        raise argparse.ArgumentTypeError("auto, or a number from 1 to 10")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kritarunner -s unflatten.batch -f run --", description="Take pictures apart into layered .kra files."
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="a picture, a folder or a pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the .kra files go")
    parser.add_argument("--layers", type=_layers, default="auto", metavar="auto|N", help="at most N layers, 1 to 10")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="the same seed gives the same layers")
    parser.add_argument("--backend", default="", metavar="NAME", help="who splits; the built-in splitter if left out")
    return parser
