"""How long results are kept: a number of days, and no more than a share of the disk."""

import asyncio
import shutil
from contextlib import suppress

from bridge.clock import now
from bridge.jobs.files import JobFiles
from bridge.jobs.store import Store

MOST_BYTES = 16 * 2**30
"""Results take at most so many bytes together."""
SHARE_OF_DISK = 1 / 20
"""And at most this share of the disk."""
DAY = 86_400.0
"""In seconds."""


async def sweep(store: Store, files: JobFiles, *, days: float) -> None:
    """Erase results older than `days`, those that have expired, and the oldest where all take too much of the disk.

    Files first, then the row, so that a sweep cut off in between is finished by the next. Raises OutOfSpace.
    """
    share = int(shutil.disk_usage(files.root).total * SHARE_OF_DISK)
    moment = now()
    for job_id in store.overdue(ended_before=moment - days * DAY, now=moment, most_bytes=min(MOST_BYTES, share)):
        with suppress(ValueError):  # a row that was damaged while this process runs: it has no folder
            await asyncio.to_thread(files.erase, job_id)
        store.forget(job_id)
