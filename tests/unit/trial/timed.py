"""A bridge with an open fal door whose jobs take a fixed time, several at once: for measuring clients, not splitters.

    python -m tests.unit.trial.timed DATA [SECONDS [AT_ONCE [PORT]]]

The door's key comes from UNFLATTEN_FAL_DOOR_KEY. Pictures are opened, and layers saved, by the real worker; between
the two a job waits for so many seconds, and its layers are bands of its picture. `begun` in DATA counts the jobs that
were ever begun, a line with each one's number and seed.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from bridge.jobs.runner import Runner
from bridge.jobs.spool import layer_path, write_whole
from bridge.jobs.workshop import Workshop

from bridge.errors import Cancelled
from bridge.server import daemon

DATA = Path(sys.argv[1])
SECONDS, AT_ONCE, PORT = (float(given) for given in [*sys.argv[2:5], *("2", "10", "0")[len(sys.argv) - 2 :]])


class Timed(Workshop):
    """Instead of running a job, waits; any number of them at the same time."""

    def __init__(self, last_words: Path, *, idle: float, command: Sequence[str]) -> None:
        super().__init__(last_words, idle=600, command=command)
        self._cancelled: dict[str, asyncio.Event] = {}

    async def run(self, job: str, order: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        until = time.monotonic() + SECONDS
        cancelled = self._cancelled[job] = asyncio.Event()
        with open(DATA / "begun", "a") as begun:
            begun.write(f"{job} {order['settings'].get('seed')}\n")
        yield {"event": "progress", "stage": "Waiting", "step": 1, "steps": 2}
        folder, width, height = Path(order["folder"]), order["width"], order["height"]
        layers = _bands(width, height, order["settings"]["num_layers"])
        picture = (folder / "picture.raw").read_bytes()
        for index, (_, _, (_, top, _, rows)) in enumerate(layers):
            write_whole(layer_path(folder, index), [picture[top * width * 4 : (top + rows) * width * 4]])
        with suppress(TimeoutError):
            await asyncio.wait_for(cancelled.wait(), until - time.monotonic())
        del self._cancelled[job]
        if cancelled.is_set():
            raise Cancelled()
        yield {"event": "stack", "layers": layers}
        for index in range(len(layers)):
            yield {"event": "layer", "index": index}
        seed = order["settings"].get("seed") or 7
        took = {"seconds": SECONDS, "draft_seconds": SECONDS, "finish_seconds": 0.0}
        report = {"max_error": 0, "levels": 255, "exact_share": 1, "model_drift": 0, "seed": seed, **took}
        yield {"event": "done", "report": {**report, "layers": len(layers), "cost": 0, "notes": []}}

    def cancel(self, job: str) -> None:
        if job in self._cancelled:
            self._cancelled[job].set()


class Several(Runner):
    """Runs AT_ONCE jobs at a time."""

    async def run(self) -> None:
        free = asyncio.Semaphore(int(AT_ONCE))
        running: set[asyncio.Task[None]] = set()
        while True:
            await free.acquire()
            self._wake.clear()
            while (job := self._queue.take()) is None:
                await self._wake.wait()
                self._wake.clear()
            task = asyncio.create_task(self._run(self._jobs[job]))
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(lambda _: free.release())

    async def drain(self, deadline: float) -> None:
        """End at once, as a crash would: the journal tells the next start what was left."""
        self._draining = True


def _bands(width: int, height: int, count: int) -> list[tuple[str, str, tuple[int, int, int, int]]]:
    edges = [height * each // (count - 1) for each in range(count)] if count > 1 else []
    bands = [(top, bottom - top) for top, bottom in pairwise(edges) if bottom > top]
    named = [(f"Band {number}", "object", (0, top, width, rows)) for number, (top, rows) in enumerate(bands, 1)]
    return [("Background", "background", (0, 0, width, height)), *named]


if __name__ == "__main__":
    daemon.Workshop = Timed
    daemon.Runner = Several
    sys.exit(daemon.serve(DATA, idle_exit=3600, fal=daemon.FalOptions(int(PORT))))
