"""The bridge's log: what happened and where in the code, never what was in it."""

import logging
import os
import traceback
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any

LOG_FILE = "bridge.log"
_BYTES = 2**20
_OLDER_FILES = 2

# until there is a log to write to, nothing goes to the terminal in its stead
logging.getLogger("unflatten").addHandler(logging.NullHandler())

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _DiscreetFormatter(logging.Formatter):
    """Writes an exception's type and lines of code, not its text: that may quote a prompt, a file name or a header."""

    def formatException(self, ei: ExceptionInfo) -> str:
        kind, _, trace = ei
        frames = traceback.extract_tb(trace)
        lines = [f"  {Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        return "\n".join([f"  {kind.__name__ if kind else 'error'} at", *lines])


class _PrivateFile(RotatingFileHandler):
    """Each file readable by its owner alone, from its first byte on."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding="utf-8")


def start_log(folder: Path) -> logging.Logger:
    """Let everything that logs in this process write to the folder's log; the bridge's own logger."""
    logging.raiseExceptions = False  # a full disk must not turn each log line into noise of its own
    handler = _PrivateFile(folder / LOG_FILE, maxBytes=_BYTES, backupCount=_OLDER_FILES)
    handler.setFormatter(_DiscreetFormatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Below WARNING uvicorn and websockets log addresses with their query, and every header: the token among them.
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    own = logging.getLogger("unflatten")
    own.setLevel(logging.INFO)
    return own


def describe_loop_error(context: dict[str, Any]) -> tuple[str, BaseException | None]:
    """What asyncio tells of an error that nobody caught, without the objects in it: their repr shows values."""
    return str(context.get("message", "error in the event loop")), context.get("exception")
