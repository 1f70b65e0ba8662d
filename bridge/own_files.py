"""What holds the user's pictures, words and keys: folders and logs of the user's own, closed to others. A leaf."""

import os
import stat
from pathlib import Path

from bridge.errors import UnflattenError

_CAREFUL: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""No link is followed, and no pipe waited for."""


class ForeignFolder(UnflattenError):
    """The folder is somebody else's, who could read and change all that is kept in it."""

    code = "foreign_folder"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"The folder {folder} belongs to another user.",
            "Set UNFLATTEN_HOME to a folder of your own, or remove it so that the usual one is used.",
        )


def claim(folder: Path) -> None:
    """Make `folder` where there is none, and close it to others where it is open to them.

    Raises ForeignFolder where it is another user's, and OSError where it can't be made or closed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not hasattr(os, "geteuid"):  # Windows keeps each user's folders to the user
        return
    state = folder.stat()
    if state.st_uid != os.geteuid():
        raise ForeignFolder(folder)
    if stat.S_IMODE(state.st_mode) & 0o077:
        os.chmod(folder, 0o700)


def open_log(path: str) -> int:
    """A descriptor that appends to the file `path`. What lies there and is no file is removed. Raises OSError."""
    try:
        return _open(path)
    except OSError:
        if os.path.isdir(path) and not os.path.islink(path):
            raise
        os.unlink(path)
        return _open(path)


def _open(path: str) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _CAREFUL, 0o600)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:  # a link of the other kind leads to another file, too
        os.close(descriptor)
        raise OSError(f"{path} is no file of its own")
    return descriptor
