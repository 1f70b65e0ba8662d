"""One picture into its layers: `unflatten split`."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from bridge.command import price
from bridge.command.interrupt import Interrupt
from bridge.command.run import Outcome, opened, remove_leftovers, request_for, run_jobs
from bridge.command.wanted import Wanted
from bridge.errors import UnflattenError
from bridge.files.save import Format
from bridge.jobs.job import Progressed
from bridge.manifest import digest


class View(Protocol):
    """Shows how far the picture is."""

    def say(self, sentence: str) -> None: ...

    def progress(self, step: Progressed) -> None: ...


async def split(
    source: Path,
    target: Path,
    kind: Format,
    wanted: Wanted,
    view: View,
    interrupt: Interrupt,
    *,
    sheet: Path | None = None,
) -> Outcome:
    """Load, split and save one picture. Raises UnflattenError; nothing half-written is left."""
    chosen = wanted.chosen
    picture = await asyncio.to_thread(digest, source) if chosen.remote else ""
    request = request_for(source, target, kind, wanted, picture, sheet=sheet)
    try:
        async with opened(chosen, 1) as engine:
            view.say(wanted.note)
            view.say(price.told(chosen, wanted.settings))
            view.progress(Progressed("Opening the picture", 0, 1))
            async with aclosing(run_jobs(engine, [request], interrupt)) as happenings:
                async for _, happening in happenings:
                    match happening:
                        case Progressed():
                            view.progress(happening)
                        case Outcome():
                            return happening
                        case UnflattenError():
                            raise happening
            raise AssertionError
    except BaseException:
        remove_leftovers([request])
        raise
