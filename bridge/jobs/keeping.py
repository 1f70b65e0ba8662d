"""How long results are kept: a number of days, and no more than a share of the disk."""

import asyncio
import shutil
import time

from bridge.jobs.journal import Journal
from bridge.jobs.spool import Spool

MOST_BYTES = 16 * 2**30
SHARE_OF_DISK = 1 / 20
DAY = 86_400.0


def overdue(journal: Journal, spool: Spool, *, days: float, most_bytes: int) -> list[str]:
    """Ended jobs to be erased: those older than `days`, and the oldest beyond `most_bytes` in all."""
    erase: list[str] = []
    kept = 0
    oldest = time.time() - days * DAY
    for entry in reversed(journal.ended()):
        kept += spool.used(entry.id)
        if (entry.ended or entry.created) < oldest or kept > most_bytes:
            erase.append(entry.id)
    return erase


async def sweep(journal: Journal, spool: Spool, *, days: float) -> None:
    """Erase what is overdue: files first, then the row, so that a sweep cut off in between is finished by the next."""
    share = int(shutil.disk_usage(spool.root).total * SHARE_OF_DISK)
    for job in overdue(journal, spool, days=days, most_bytes=min(MOST_BYTES, share)):
        await asyncio.to_thread(spool.erase, job)
        journal.forget(job)
