"""A job as a test drives it, in the engine's place: submitted, followed, fetched and unpacked; within its clock, and
cancelled when the test says so."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bridge.backends.base import (
    DraftLayer,
    Fate,
    Fetched,
    JobContext,
    NothingHeld,
    Paced,
    Progress,
    RemoteError,
    RemoteJob,
    RemoteModel,
)
from bridge.backends.choice import choose
from bridge.backends.fal.backend import Fal
from bridge.errors import UnflattenError
from bridge.picture import Picture
from bridge.settings import Settings

LOOK = 0.01
"""Seconds between two looks at whether the test cancels the job."""


def picture(width: int = 300, height: int = 200, seed: int = 1) -> Picture:
    """Opaque noise, which no file makes small."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255
    return Picture(pixels)


def plain(width: int = 64, height: int = 48) -> Picture:
    """One colour, which fits into a request."""
    return Picture(np.full((height, width, 4), (200, 120, 40, 255), np.uint8))


@dataclass(frozen=True)
class Kept:
    """A handle was written down."""

    text: str

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.text or "{}")


Event = Progress | Kept


@dataclass
class Drafted:
    """events: progress, and handles that were kept. error: what ended it, if anything did. fate: what fal said when it
    was cancelled, or took too long."""

    job: JobContext
    events: list[Event] = field(default_factory=list[Event])
    layers: list[DraftLayer] = field(default_factory=list[DraftLayer])
    error: UnflattenError | None = None
    fate: Fate | None = None
    overtime: bool = False
    patience_left: float = 0.0
    """When fal was asked to drop it."""

    @property
    def stages(self) -> list[str]:
        return [event.stage for event in self.events if isinstance(event, Progress)]

    @property
    def paces(self) -> list[str]:
        return [event.pace for event in self.events if isinstance(event, Paced)]

    @property
    def handles(self) -> list[dict[str, Any]]:
        """What the handles say; empty ones as {}."""
        return [event.told for event in self.events if isinstance(event, Kept)]

    @property
    def failure(self) -> UnflattenError:
        assert self.error is not None, f"it ended well, with {len(self.layers)} layers"
        return self.error


class Driver:
    """The engine's part in one job.

    handle: that of an earlier run. watch: called with each event, before the job goes on. cancel_when: asked again and
    again; the job is cancelled when it says so.
    """

    def __init__(
        self,
        drafted: Drafted,
        settings: Settings,
        *,
        handle: str = "",
        others: Sequence[str] = (),
        spare_begun: bool = False,
        watch: Callable[[Event], None] = lambda event: None,
        cancel_when: Callable[[], bool] | None = None,
    ) -> None:
        self.drafted = drafted
        self._settings = settings
        self._handle = handle
        self._watch = watch
        self._cancel_when = cancel_when
        self.job = RemoteJob(drafted.job.seed, self._tell, self._keep, tuple(others), spare_begun)

    async def run(self, model: RemoteModel, shown: Picture, wall_clock: float) -> None:
        """To its end, as `drafted` then tells."""
        backend = Fal()
        try:
            async with asyncio.timeout(wall_clock):
                fetched = await self._watched(self._fetched(model, backend.pack(shown, self._settings)))
            if fetched is not None:
                self.drafted.layers = backend.unpack(fetched, self._settings, self.drafted.job)
                return
        except TimeoutError:
            self.drafted.overtime = True
        except UnflattenError as error:
            self.drafted.error = error
            return
        self.drafted.patience_left = self.job.patience
        self.drafted.fate = await model.cancel(self._handle, self.job)

    async def _watched(self, way: Any) -> Fetched | None:
        """What the way leads to; None where the test cancelled it."""
        task = asyncio.ensure_future(way)
        try:
            while self._cancel_when is not None and not task.done():
                await asyncio.wait({task}, timeout=LOOK)
                if not task.done() and self._cancel_when():
                    task.cancel()
                    await asyncio.wait({task})
                    return None
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _fetched(self, model: RemoteModel, packed: bytes) -> Fetched:
        """As the engine does it: what an earlier run called off in time is submitted anew."""
        if not self._handle:
            await model.submit(packed, self._settings, self.job)
        try:
            await self._followed(model)
        except NothingHeld:
            await model.submit(packed, self._settings, self.job)
            await self._followed(model)
        return await model.fetch(self._handle, self._settings, self.job)

    async def _followed(self, model: RemoteModel) -> None:
        steps: Any = model.follow(self._handle, self._settings, self.job)
        async with aclosing(steps):
            async for progress in steps:
                self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        self.drafted.events.append(progress)
        self._watch(progress)

    async def _keep(self, text: str) -> None:
        self._handle = text
        self.drafted.events.append(Kept(text))
        self._watch(Kept(text))


async def drive(
    shown: Picture | None = None,
    settings: Settings | None = None,
    *,
    seed: int = 77,
    model: RemoteModel | None = None,
    **options: Any,
) -> Drafted:
    """Drive a job to its end, with a model of its own where none is given. options: the driver's."""
    drafted = Drafted(JobContext(seed=seed))
    driver = Driver(drafted, settings or Settings(num_layers=3), **options)
    own = None
    try:
        chosen = choose("fal").check()
        assert chosen.remote is not None
        if model is None:
            model = own = await asyncio.to_thread(chosen.remote.connect, chosen.options)
        await driver.run(model, shown or picture(), chosen.remote.wall_clock(chosen.options))
    except UnflattenError as error:
        assert not isinstance(error, RemoteError), "a driver takes note of those"
        drafted.error = error
    finally:
        if own is not None:
            await own.close()
    return drafted


def draft(*given: Any, **options: Any) -> Drafted:
    """The same where no event loop runs."""
    return asyncio.run(drive(*given, **options))


def composite(layers: list[DraftLayer]) -> np.ndarray:
    """(h, w, 3) the layers laid over each other; each pixel of theirs is opaque or clear."""
    flat = np.zeros((layers[0].height, layers[0].width, 3), np.uint8)
    for each in layers:
        shows = each.layer.pixels[..., 3] == 255
        flat[shows] = each.layer.pixels[shows][:, :3]
    return flat
