"""An engine in a command's own process: the same lanes, workers and store as the bridge's, for as long as it runs."""

import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.clock import now
from bridge.errors import OutOfSpace
from bridge.jobs.database import StoreFailed
from bridge.jobs.engine import Engine
from bridge.jobs.files import JobFiles
from bridge.jobs.job import State
from bridge.jobs.store import Store
from bridge.jobs.supervisor import Workers
from bridge.own_files import claim
from bridge.processes import began, is_alive

STORE_FILE = "journal.sqlite"
"""The store of jobs, in the data folder."""
OWNER = "command"
"""The first word of a command's name in the store; its process id and start follow."""
FORGOTTEN_AFTER = 30 * 86_400.0
"""Seconds after which no service has anything of a command's picture any more, by far."""


@asynccontextmanager
async def open_engine(
    data: Path, *, remembers: bool, workers: int = 1, pool: Workers | None = None
) -> AsyncGenerator[Engine]:
    """An engine that ends with the block; what services have then is taken up when the same is asked again.

    data: the data folder. remembers: whether it must be known after a crash what services were sent; without, nothing
    is written there. workers: pictures split at a time; pool: its worker processes, where some run already.

    Raises OutOfSpace where it must be known and cannot be written.
    """
    store = _open_store(data) if remembers else Store(None)
    with tempfile.TemporaryDirectory(prefix="unflatten-", ignore_cleanup_errors=True) as folder:
        files = JobFiles(Path(folder) / "jobs")
        engine = Engine(store, files, pool or Workers(None), owner=_name(os.getpid()), cpu=workers)
        try:
            yield engine
        finally:
            await engine.drain(0)
            await engine.close()


def _open_store(data: Path) -> Store:
    """The bridge's own store, with what commands left there that were killed: no longer theirs, but not forgotten."""
    try:
        claim(data)
        store = Store(data / STORE_FILE)
    except OSError as problem:
        raise OutOfSpace(
            f"It could not be written down where the picture is sent: {problem.strerror}.",
            f"Nothing goes on without that. Look at {data}, and free some space on its disk.",
            code=StoreFailed.code,
        ) from None
    for owner in store.owners():
        if _is_command(owner) and not _lives(owner):
            for job in store.unfinished(owner):
                job.state, job.ended = State.INTERRUPTED, job.created
                store.save(job)
    long_ago = now() - FORGOTTEN_AFTER
    for job_id in store.overdue(ended_before=long_ago, now=0, most_bytes=sys.maxsize):
        job = store.get(job_id)
        if job is not None and _is_command(job.owner):
            store.forget(job_id)
    return store


def _is_command(owner: str) -> bool:
    return owner.partition(" ")[0] == OWNER


def _name(pid: int) -> str:
    """A process's name that no later one has: numbers are used again."""
    return f"{OWNER} {pid} {began(pid)}"


def _lives(owner: str) -> bool:
    number = owner.split(" ")[1] if " " in owner else ""
    return number.isdecimal() and is_alive(int(number)) and _name(int(number)) == owner
