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
    """Ended jobs to be erased: older than `days` or than their client wanted, and the oldest beyond `most_bytes`."""
    erase: list[str] = []
    kept = 0
    now = time.time()
    oldest = now - days * DAY
    for entry in reversed(journal.ended()):
        kept += spool.used(entry.id)
        expires = (entry.extra or {}).get("expires")
        if (entry.ended or entry.created) < oldest or kept > most_bytes or (expires is not None and expires < now):
            erase.append(entry.id)
    return erase


async def sweep(journal: Journal, spool: Spool, *, days: float) -> None:
    """Erase what is overdue: files first, then the row, so that a sweep cut off in between is finished by the next."""
    share = int(shutil.disk_usage(spool.root).total * SHARE_OF_DISK)
    for job in overdue(journal, spool, days=days, most_bytes=min(MOST_BYTES, share)):
        await asyncio.to_thread(spool.erase, job)
        journal.forget(job)
