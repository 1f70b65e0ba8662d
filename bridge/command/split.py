"""One picture into its layers: `unflatten split`."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.command import workers
from bridge.command.interrupt import Interrupt
from bridge.errors import UnflattenError
from bridge.files.save import Format

if TYPE_CHECKING:  # all that takes time to load is loaded while the worker starts
    from bridge.command.run import Outcome


@dataclass(frozen=True)
class Order:
    """What is asked for. kind: what `target` shall be; sheet: where a contact sheet goes, if anywhere.

    settings, backend, options: as `wanted` takes them.
    """

    source: Path
    target: Path
    kind: Format
    settings: Mapping[str, object]
    backend: str | None = None
    options: Sequence[str] = ()
    sheet: Path | None = None


async def split(order: Order, interrupt: Interrupt) -> "Outcome":
    """Load, split and save one picture. Raises UnflattenError; nothing half-written is left."""
    async with workers.started() as pool:
        from bridge.command import price
        from bridge.command.run import Outcome, opened, remove_leftovers, request_for, run_jobs
        from bridge.command.show import SplitView
        from bridge.command.wanted import wanted
        from bridge.jobs.job import Progressed
        from bridge.manifest import digest

        how = wanted(order.settings, order.backend, order.options)
        picture = await asyncio.to_thread(digest, order.source) if how.chosen.remote else ""
        request = request_for(order.source, order.target, order.kind, how, picture, sheet=order.sheet)
        try:
            async with opened(how.chosen, pool, 1) as engine:
                with SplitView(order.source.name) as view:
                    view.say(how.note)
                    view.say(price.told(how.chosen, how.settings))
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
