"""The bridge's log: what happened and where in the code, never what was in it."""

import logging
import os
import time
import traceback
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from bridge.own_files import open_log

LOG_FILE = "bridge.log"
_BYTES = 2**20
_OLDER_FILES = 2
MOST_ALIKE = 10
"""Lines of one kind a minute: whoever knocks at the door without a key must not fill the log, nor push out what is in
it."""
MINUTE = 60.0
MOST_KINDS = 500

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


class _Seldom(logging.Filter):
    """Leaves out what is said again and again: warnings, and all that libraries say. How much is told by and by."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "unflatten" and record.levelno < logging.WARNING:
            return True
        kind, now = (record.name, str(record.msg)), time.monotonic()
        if len(self._kinds) > MOST_KINDS:
            self._kinds.clear()
        began, count = self._kinds.get(kind, (now, 0))
        if now - began > MINUTE:
            if count > MOST_ALIKE:
                record.msg = f"{record.msg} (and {count - MOST_ALIKE} like it before)"
            began, count = now, 0
        self._kinds[kind] = began, count + 1
        return count < MOST_ALIKE


class _PrivateFile(RotatingFileHandler):
    """Each file readable by its owner alone, from its first byte on."""

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(os.fdopen(open_log(self.baseFilename), "ab"), encoding="utf-8", errors="backslashreplace")


def start_log(folder: Path) -> logging.Logger:
    """Let everything that logs in this process write to the folder's log; the bridge's own logger."""
    logging.raiseExceptions = False  # a full disk must not turn each log line into noise of its own
    handler = _PrivateFile(folder / LOG_FILE, maxBytes=_BYTES, backupCount=_OLDER_FILES)
    handler.addFilter(_Seldom())
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
