"""Writing files that are either whole or not there, private where they must be, with a full disk said in a sentence."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import BinaryIO

from bridge.errors import OutOfSpace, UnflattenError
from bridge.processes import is_alive

RESERVE = 64 * 2**20
"""Bytes left free on the disk beside what a job may need, for the store and for everything else that runs."""
WRITE_PIECE = 2**18
"""Bytes written at a time."""
FULL = frozenset(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))
"""To the user the same: no space, no quota, no leave to make so large a file."""


def private(path: str, flags: int) -> int:
    """An opener for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def out_of_space(error: BaseException) -> OutOfSpace | None:
    """What to say where `error` means that the disk is full; None where it means something else."""
    if isinstance(error, OSError) and error.errno in FULL:
        return OutOfSpace(
            "The disk is full: the picture and its layers could not be kept.",
            "Free some space on the disk, then try again.",
        )
    return None


@contextlib.contextmanager
def full_disk_said() -> Generator[None]:
    """Turn an OSError that means a full disk into OutOfSpace."""
    try:
        yield
    except OSError as error:
        raise out_of_space(error) or error from None


def check_room(folder: Path, nbytes: int, *, promised: int = 0) -> None:
    """Raise OutOfSpace where `nbytes` more would not fit beside RESERVE and what others were `promised`."""
    need = nbytes + RESERVE
    free = shutil.disk_usage(folder).free - promised
    if free < need:
        raise OutOfSpace(
            f"There is not enough room on the disk: this picture needs about {need // 10**6} MB while it is split, "
            f"and {max(free, 0) // 10**6} MB are free.",
            "Free some space on the disk, then try again.",
        )


def write_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a private file under a temporary name that becomes `path` when all is there. Raises OutOfSpace."""
    part = path.with_suffix(".part")
    with full_disk_said():
        try:
            with open(part, "wb", buffering=0, opener=private) as file:
                for piece in pieces:
                    write_all(file, piece)
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write everything, in pieces: given megabytes at once, Linux looks for large pages to keep them in, and that takes
    ten times as long as the copy. An unbuffered file may also take less than it is given, on a nearly full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest[:WRITE_PIECE]) :]


# What the user asked to be saved: with the mode of the user's other files, since the system itself takes the umask off


@contextlib.contextmanager
def whole_file(target: Path) -> Generator[Path]:
    """A path to write to; it becomes `target` by renaming when the block ends well, and vanishes otherwise."""
    target = Path(os.path.realpath(target))  # where a link leads to: the link stays
    with explained(target):
        remove_unfinished(target)
        fresh = _unfinished(target)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield fresh
            os.replace(fresh, target)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Generator[Path]:
    """A folder to write to; when the block ends well its files move into `target`, made where there is none."""
    target = Path(os.path.realpath(target))
    with explained(target):
        remove_unfinished(target)
        fresh = _unfinished(target)
        fresh.mkdir()
        try:
            yield fresh
            if target.exists():
                for file in sorted(fresh.iterdir()):
                    os.replace(file, target / file.name)
            else:
                fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def remove_unfinished(target: Path) -> None:
    """Remove what processes that have ended left of a `target` that they had begun to save."""
    target = Path(os.path.realpath(target))
    name = re.compile(rf"{re.escape(_start(target))}(\d+)-[0-9a-f]{{8}}{re.escape(target.suffix)}")
    with contextlib.suppress(OSError):
        for entry in os.scandir(target.parent):
            found = name.fullmatch(entry.name)
            if found and not is_alive(int(found[1])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


@contextlib.contextmanager
def explained(target: Path) -> Generator[None]:
    """Within it the disk’s refusal to write `target` becomes an UnflattenError."""
    try:
        yield
    except OSError as problem:
        if problem.errno in FULL:
            raise OutOfSpace(
                f"The disk is full: {target.name} could not be saved.", "Free some space, then try again."
            ) from problem
        raise UnflattenError(
            f"{target} could not be saved: {problem.strerror or problem}.",
            "Choose a folder that exists and that you may write to.",
            code="cannot_save",
        ) from problem


def _unfinished(target: Path) -> Path:
    """A name beside `target` that tells which process is at work on it."""
    return target.with_name(f"{_start(target)}{os.getpid()}-{secrets.token_hex(4)}{target.suffix}")


def _start(target: Path) -> str:
    return f".{target.stem[:40]}-"
