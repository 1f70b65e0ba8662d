"""Pictures from a pipe, and layers into one."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bridge.errors import BadPicture, BadSettings
from bridge.files.disk import full_disk_said
from bridge.files.save import CannotSave

STANDARD = "-"
"""How standard input and standard output are called."""
LARGEST = 2 * 2**30
"""Bytes that are read from a pipe."""
_PIECE = 2**20


@contextmanager
def picture_file(given: Path) -> Generator[Path]:
    """A file that holds the picture: itself, or, for “-”, a pipe or a device, a private copy of what comes from there.

    Raises BadPicture and OutOfSpace.
    """
    if not _is_pipe(given):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="unflatten-") as folder:
        copy = Path(folder) / "picture"
        if str(given) != STANDARD:
            with open(given, "rb") as pipe:
                _read_to(copy, pipe)
        elif sys.stdin is None or sys.stdin.isatty():
            raise BadPicture("Nothing comes from standard input.", "Pipe a picture into it, or name a file.")
        else:
            _read_to(copy, sys.stdin.buffer)
        yield copy


@contextmanager
def layers_file(output: str) -> Generator[str]:
    """Where the layers are to be saved: `output`, or, for “-”, an ORA file that goes to standard output at the end.

    Raises BadSettings and CannotSave.
    """
    if output != STANDARD:
        yield output
        return
    if sys.stdout is None or sys.stdout.isatty():
        raise BadSettings("Layers are not shown on a terminal.", "Send standard output to a file or another program.")
    with tempfile.TemporaryDirectory(prefix="unflatten-") as folder:
        file = Path(folder) / "layers.ora"
        yield str(file)
        try:
            with file.open("rb") as saved:
                shutil.copyfileobj(saved, sys.stdout.buffer, _PIECE)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise CannotSave(
                f"The layers could not be written to standard output: {problem.strerror}.", "Name a file instead."
            ) from None


def _is_pipe(given: Path) -> bool:
    """Whether it must be read from its beginning to its end, by this process."""
    if str(given) == STANDARD:
        return True
    try:
        mode = os.stat(given).st_mode
    except (OSError, ValueError):
        return False
    # what lies there means this process's own, also where it leads to a file
    ours = given.is_absolute() and given.parts[1:2] in (("dev",), ("proc",))
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode) or (ours and stat.S_ISREG(mode))


def _read_to(target: Path, source: BinaryIO) -> None:
    left = LARGEST
    with full_disk_said(), target.open("xb") as file:
        while piece := source.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise BadPicture("More than 2 GB came through the pipe.", "Save a flat copy of the picture.")
            file.write(piece)
