"""A bridge with fal's API open whose jobs take a fixed time, several at once: for measuring clients, not splitters.

    python -m tests.unit.trial.timed DATA [SECONDS [AT_ONCE [PORT]]]

The API's key comes from UNFLATTEN_FAL_API_KEY. The daemon, its engine and its workers are the real ones; the backend
`timed`, registered from outside in a lane of AT_ONCE places, waits for SECONDS, and its layers are bands of the
picture. `begun` in DATA counts the jobs that were ever begun, a line with each one's number and seed.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import BaseModel

from bridge.backends import registry
from bridge.backends.base import (
    Capabilities,
    DraftLayer,
    Estimate,
    Fate,
    Fetched,
    FixedLimit,
    JobContext,
    NothingHeld,
    Placement,
    Progress,
    RemoteJob,
    RemoteModel,
)
from bridge.picture import Picture
from bridge.settings import Settings
from tests.unit.trial.backends import ALL_SETTINGS
from tests.unit.trial.drafting import as_png, split, unpacked

DATA, SECONDS, AT_ONCE = "TIMED_DATA", "TIMED_SECONDS", "TIMED_AT_ONCE"
"""Environment variables by which the daemon's worker learns what the daemon was told."""


class NoOptions(BaseModel):
    """There is nothing to choose."""


class Timed:
    """A service that takes as long as it was told, in a lane of so many places."""

    name = "timed"
    Options = NoOptions
    credential = None

    @property
    def placement(self) -> Placement:
        return Placement("timed", FixedLimit(int(os.environ[AT_ONCE])))

    def capabilities(self, options: NoOptions) -> Capabilities:
        return Capabilities(title="Timed", settings=ALL_SETTINGS)

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(float(os.environ[SECONDS]))

    def wall_clock(self, options: NoOptions) -> float:
        return 3600.0

    def connect(self, options: NoOptions) -> RemoteModel:
        return Waiting()

    def pack(self, picture: Picture, settings: Settings) -> bytes:
        return as_png(picture.view)

    def unpack(self, fetched: Fetched, settings: Settings, job: JobContext) -> list[DraftLayer]:
        return list(unpacked(fetched.images))


class Waiting:
    """The jobs that wait, in memory: a service that forgets what was under way when the bridge was killed."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[float, bytes]] = {}

    async def submit(self, packed: bytes, settings: Settings, job: RemoteJob) -> str:
        handle = f"timed-{time.time_ns()}"
        await job.keep(handle)
        with open(Path(os.environ[DATA]) / "begun", "a") as begun:
            begun.write(f"{handle} {settings.seed}\n")
        self._jobs[handle] = time.monotonic() + float(os.environ[SECONDS]), packed
        return handle

    async def follow(self, handle: str, settings: Settings, job: RemoteJob) -> AsyncIterator[Progress]:
        if handle not in self._jobs:
            raise NothingHeld()
        yield Progress("Waiting", 1, 2)
        await asyncio.sleep(self._jobs[handle][0] - time.monotonic())

    async def fetch(self, handle: str, settings: Settings, job: RemoteJob) -> Fetched:
        _, packed = self._jobs.pop(handle)
        return Fetched(await asyncio.to_thread(split, packed, settings), job.seed)

    async def cancel(self, handle: str, job: RemoteJob) -> Fate:
        self._jobs.pop(handle, None)
        return Fate.REMOVED

    async def close(self) -> None:
        self._jobs.clear()


def main() -> None:
    """The daemon; or, with `--worker` and its parent's process id, its worker."""
    registry.register(Timed.name, f"{__name__}:{Timed.__name__}")
    if sys.argv[1] == "--worker":
        from bridge.jobs.worker import main as work

        work(int(sys.argv[2]))
        return
    from bridge.server.daemon import FalOptions, serve

    data, seconds, at_once, port = [*sys.argv[1:], *("2", "10", "0")[len(sys.argv) - 2 :]]
    os.environ.update({DATA: data, SECONDS: seconds, AT_ONCE: at_once})
    worker = (sys.executable, "-m", "tests.unit.trial.timed", "--worker")
    sys.exit(serve(Path(data), idle_exit=3600, worker=worker, fal=FalOptions(int(port), Timed.name)))


if __name__ == "__main__":
    main()
