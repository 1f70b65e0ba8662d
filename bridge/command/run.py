"""Jobs of a command, run by an engine in its own process."""

import asyncio
import hashlib
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.backends.choice import Choice
from bridge.command.interrupt import Interrupt
from bridge.command.wanted import Wanted
from bridge.connection_file import data_dir
from bridge.errors import UnflattenError
from bridge.files.disk import remove_unfinished
from bridge.files.save import Format
from bridge.jobs.engine import Engine
from bridge.jobs.job import (
    Done,
    Failed,
    ImageFile,
    JobEvent,
    JobRequest,
    LayeredFile,
    Outline,
    Progressed,
    Stacked,
    State,
)
from bridge.jobs.local import open_engine
from bridge.jobs.supervisor import Workers

AT_ONCE = 128
"""Jobs that an engine has at a time: more than any service takes, and few enough for a list that is often looked at."""


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: its layers, back to front, and the job's report."""

    layers: tuple[Outline, ...]
    report: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for programs."""
        layers = [{"name": each.name, "kind": each.kind, "rect": list(each.rect)} for each in self.layers]
        return {"layers": layers, "report": self.report}

    def lines(self, output: str) -> list[str]:
        """For people: the layers from the top down, where they are, and what is to be known of them."""
        report = self.report
        cost = f", ${report['cost']:.2f}" if report["cost"] else ""
        saved = f"{layers_counted(len(self.layers))} saved in {output} ({report['seconds']:.1f} s{cost})."
        return [*(f"  {layer.name}" for layer in reversed(self.layers)), saved, *report["notes"]]


def layers_counted(count: int) -> str:
    """How many layers, in words: they are listed from the top down."""
    return "1 layer" if count == 1 else f"{count} layers, top to bottom,"


def request_for(
    source: Path,
    target: Path,
    kind: Format,
    wanted: Wanted,
    picture: str,
    *,
    sheet: Path | None = None,
    batch: bool = False,
) -> JobRequest:
    """The job that splits `source` into `target`. picture: its sha256, which tells what a service has of it already."""
    name = wanted.chosen.name
    asked = [picture, name, wanted.options, wanted.settings.model_dump(), str(target.resolve())]
    same_as = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return JobRequest(
        id=secrets.token_hex(16),
        client="command",
        source=ImageFile(str(source.absolute())),
        output=LayeredFile(str(target.absolute()), kind, str(sheet.absolute()) if sheet else None),
        backend=name,
        settings=wanted.settings,
        options=wanted.options,
        batch=batch,
        same_as=same_as if wanted.chosen.remote else "",
    )


@asynccontextmanager
async def opened(chosen: Choice, pool: Workers, count: int) -> AsyncGenerator[Engine]:
    """An engine for jobs of that backend, ready to work. count: pictures split on this computer at a time.

    Raises BackendUnavailable where a service can't be spoken with, before anything is sent.
    """
    logging.getLogger("unflatten").addHandler(logging.NullHandler())  # its lines are the bridge's log's, no user's
    async with open_engine(data_dir(), remembers=chosen.remote is not None, workers=count, pool=pool) as engine:
        await engine.executor.connect(chosen)
        yield engine


async def run_jobs(
    engine: Engine, requests: Iterable[JobRequest], interrupt: Interrupt, *, spare_begun: bool = False
) -> AsyncGenerator[tuple[JobRequest, Progressed | Outcome | UnflattenError], None]:
    """Have all of them done, and yield what happens to each, until the user asks to stop: then those that are under way
    are cancelled.

    spare_begun: what a service is at work on then is left to it; the next command that asks for the same takes it up.
    """
    waiting = deque(requests)
    live: dict[str, JobRequest] = {}
    layers: dict[str, tuple[Outline, ...]] = {}
    events: asyncio.Queue[tuple[str, JobEvent]] = asyncio.Queue()

    def hear(job_id: str, event: JobEvent) -> None:
        job = engine.look(job_id)
        if not isinstance(event, Progressed) or (job is not None and job.state is not State.QUEUED):
            events.put_nowait((job_id, event))

    def stop() -> None:
        for job_id in live:
            engine.cancel(job_id, spare_begun=spare_begun)

    interrupt.stop = stop
    try:
        while True:
            while waiting and len(live) < AT_ONCE and not interrupt.asked:
                request = waiting.popleft()
                live[request.id] = request
                engine.submit(request, hear)
            if not live:
                return
            job_id, event = await events.get()
            match event:
                case Progressed():
                    yield live[job_id], event
                case Stacked():
                    layers[job_id] = event.layers
                case Done():
                    _forget(engine, live[job_id])
                    yield live.pop(job_id), Outcome(layers.pop(job_id), event.report)
                case Failed():
                    _forget(engine, live[job_id])
                    yield live.pop(job_id), event.error
                case _:
                    pass
    finally:
        interrupt.stop = None


def remove_leftovers(requests: Iterable[JobRequest]) -> None:
    """After the engine: remove what workers that were ended in the middle of saving have left beside the results."""
    for request in requests:
        assert isinstance(request.output, LayeredFile)
        remove_unfinished(Path(request.output.path))
        if request.output.sheet:
            remove_unfinished(Path(request.output.sheet))


def _forget(engine: Engine, request: JobRequest) -> None:
    """Nobody comes back for a command's jobs, but for what a service may still have of them."""
    job = engine.store.get(request.id)
    for each in [*([job] if job else []), *engine.store.equals(request.same_as)]:
        if each.state.ended and (each.handle is None or each.state is State.DONE):
            engine.store.forget(each.id)
    engine.files.erase(request.id)
