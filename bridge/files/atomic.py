"""Writing so that a file is either whole or not there, with the disk's refusals as sentences."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from bridge.errors import OutOfSpace, UnflattenError

FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
"""To the user the same: no space, no quota, no leave to make so large a file."""


@contextlib.contextmanager
def whole_file(target: Path) -> Generator[Path]:
    """A path to write to; it becomes `target` by renaming when the block ends well, and vanishes otherwise."""
    with explained(target):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:40]}-", suffix=target.suffix)
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, _usual_mode())
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Generator[Path]:
    """A folder to write to; when the block ends well its files move into `target`, made where there is none."""
    with explained(target):
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:40]}-"))
        try:
            yield fresh
            if target.exists():
                for file in sorted(fresh.iterdir()):
                    os.replace(file, target / file.name)
            else:
                fresh.chmod(0o777 & ~_umask())
                fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


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


def _usual_mode() -> int:
    """What a new file gets: mkstemp makes them private, and a picture is saved as the user's others are."""
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
