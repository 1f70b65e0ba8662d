"""Where what clients of fal's API upload lies, and what is erased of it; the daemon sweeps it without that API, too."""

import contextlib
import json
import time
from pathlib import Path

from bridge import clock

FOLDER = "fal-uploads"
"""The uploads' folder in the data folder."""
UPLOAD_LIFE = 3600.0
"""Seconds that an upload which was announced may be begun in, and that what is left of a broken one stays."""


def sweep_uploads(folder: Path) -> None:
    """Erase the uploads in `folder` that have expired, and what a crash left of others."""
    now = clock.now()
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            # by both clocks: one that was set meanwhile makes a file of a moment ago look old, or the other way round
            age = min(now, time.time()) - path.stat().st_mtime
            if path.suffix != ".json":
                orphaned = path.suffix != ".bin" or not path.with_suffix(".json").is_file()
                if orphaned and age > UPLOAD_LIFE:
                    path.unlink()
                continue
            try:
                expires = float(json.loads(path.read_text("utf-8"))["expires"])
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                expires = 0
            if not expires >= now:
                path.with_suffix(".bin").unlink(missing_ok=True)
                path.unlink()
