"""A job at a service: handed over once, followed, fetched; bounded in time, called off where nobody waits for it."""

import asyncio
import json
import logging
from dataclasses import dataclass

from pydantic import BaseModel

from bridge.backends.base import (
    Fate,
    Fetched,
    NothingHeld,
    Paced,
    Progress,
    RemoteBackend,
    RemoteError,
    RemoteJob,
    RemoteModel,
)
from bridge.errors import Cancelled
from bridge.jobs.files import PACKED, JobFiles
from bridge.jobs.lanes import Place
from bridge.jobs.live import LiveJob
from bridge.jobs.plain import source_to_plain
from bridge.jobs.store import Store
from bridge.jobs.supervisor import Workers

PACKING = 2
"""Pictures packed at a time, beside the job that runs: each is in memory meanwhile."""
PACK_PATIENCE = 300.0
"""Seconds that packing may take."""
LATER = (
    "It is not lost: split the same picture with the same settings again soon, and it is taken up where it is, without "
    "being sent twice."
)

log = logging.getLogger("unflatten")


class Connections:
    """Services' models, each connected once for many jobs: a keyring may ask the user each time."""

    def __init__(self) -> None:
        self._models: dict[str, RemoteModel] = {}
        self._connecting = asyncio.Lock()
        self._stale: list[RemoteModel] = []

    async def model(self, backend: RemoteBackend, options: BaseModel) -> RemoteModel:
        """The backend's model with these options. Raises BackendUnavailable."""
        key = json.dumps([backend.name, options.model_dump(mode="json")], sort_keys=True)
        async with self._connecting:
            if key not in self._models:
                self._models[key] = await asyncio.to_thread(backend.connect, options)
            return self._models[key]

    def renew(self) -> None:
        """The next job connects anew."""
        self._stale += self._models.values()
        self._models.clear()

    async def close(self) -> None:
        self.renew()
        for model in self._stale:
            await model.close()
        self._stale.clear()


@dataclass(frozen=True)
class Remote:
    """One job's way through its service."""

    live: LiveJob
    backend: RemoteBackend
    options: BaseModel
    model: RemoteModel
    place: Place
    store: Store
    files: JobFiles
    workers: Workers
    packing: asyncio.Semaphore

    async def draft(self) -> Fetched:
        """Its layers, as image files. Raises RemoteError, Cancelled, BadPicture and OutOfSpace."""
        job = self._remote_job()
        seconds = self.backend.wall_clock(self.options)
        packed = [] if self.live.job.handle else [await self._packed()]  # not the service's time
        try:
            async with asyncio.timeout(seconds):
                return await self._until_fetched(job, packed)
        except TimeoutError:
            raise self._overtime(seconds, await self._call_off(job)) from None
        except asyncio.CancelledError:
            if self.live.interrupted:  # the service goes on; the next engine takes it up
                raise
            raise self._cancelled(await self._call_off(job)) from None
        except RemoteError as error:
            if not error.holds:
                await self._keep("")
            raise

    async def _until_fetched(self, job: RemoteJob, packed: list[bytes]) -> Fetched:
        """packed: emptied, so that the picture is let go of once it is sent."""
        settings = self.live.job.request.settings
        if self.live.job.handle:
            try:
                await self._follow(job)
                return await self.model.fetch(self._handle, settings, job)
            except NothingHeld:  # an earlier run called it off in time
                await self._keep("")
        handle = await self.model.submit(packed.pop() if packed else await self._packed(), settings, job)
        if handle != self.live.job.handle:
            await self._keep(handle)
        await self._follow(job)
        return await self.model.fetch(self._handle, settings, job)

    async def _follow(self, job: RemoteJob) -> None:
        async for step in self.model.follow(self._handle, self.live.job.request.settings, job):
            job.tell(step)

    async def _packed(self) -> bytes:
        """What is sent of the picture, made by a worker."""
        request = self.live.job.request
        async with self.packing:
            await self.workers.ask(
                "pack",
                patience=PACK_PATIENCE,
                folder=str(self.files.folder(request.id).absolute()),
                source=source_to_plain(request.source),
                settings=request.settings.model_dump(),
                backend=request.backend,
            )
            file = self.files.folder(request.id) / PACKED
            try:
                return await asyncio.to_thread(file.read_bytes)
            finally:
                file.unlink(missing_ok=True)

    @property
    def _handle(self) -> str:
        assert self.live.job.handle is not None
        return self.live.job.handle

    def _remote_job(self) -> RemoteJob:
        def tell(step: Progress) -> None:
            if isinstance(step, Paced):
                job.begun = job.begun or step.pace == "started"
                self.place.hear(step.pace)
            self.live.progressed(step)

        job = RemoteJob(
            self.live.seed,
            tell,
            self._keep,
            others=self.store.handles(self.live.id),
            patience=self.backend.placement.cancel_patience,
        )
        return job

    async def _keep(self, handle: str) -> None:
        self.live.job.handle = handle or None
        self.store.save(self.live.job, durable=True)

    async def _call_off(self, job: RemoteJob) -> Fate:
        """Have the service drop the job; what becomes of it."""
        if not self.live.job.handle:
            return Fate.NOT_SENT
        job.spare_begun = self.live.spare_begun
        try:
            async with asyncio.timeout(job.patience):
                return await self.model.cancel(self.live.job.handle, job)
        except TimeoutError:
            return Fate.UNKNOWN

    # What the user is told of it

    @property
    def _service(self) -> str:
        able = self.backend.capabilities(self.options)
        return able.short or able.title

    @property
    def _charges(self) -> bool:
        return self.backend.estimate(1024, 1024, self.live.job.request.settings).dollars > 0

    def _overtime(self, seconds: float, fate: Fate) -> RemoteError:
        service = self._service
        many = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
        paid = ", and nothing is paid" if self._charges else ""
        goes_on = f"It may go on{', and charge for it' if self._charges else ''}."
        if fate is Fate.NOT_SENT:
            return RemoteError(
                f"{service} had not taken the picture after {many}.",
                f"Your picture is unchanged{paid}. Try again later.",
                code="overtime",
                retryable=True,
            )
        told = {
            Fate.REMOVED: f"{service} had not begun with the picture after {many}: it was called off{paid}.",
            Fate.BEGUN: f"{service} was not done after {many}: it was asked to stop. {goes_on}",
            Fate.ASKED: f"{service} was not done after {many}: it was asked to stop. {goes_on}",
            Fate.DONE: f"{service} was done, but its layers did not arrive within {many}.",
            Fate.UNKNOWN: f"{service} was not done after {many}, and could not be asked to stop. {goes_on}",
        }[fate]
        again = "Your picture is unchanged. Try again in a few minutes."
        return RemoteError(told, again if fate is Fate.REMOVED else LATER, code="overtime", holds=True)

    def _cancelled(self, fate: Fate) -> Cancelled:
        service, charge = self._service, ", and charge for it" if self._charges else ""
        used = "if you split the same picture again soon, that result is used."
        told = {
            Fate.NOT_SENT: "",
            Fate.REMOVED: f"{service} had not begun{': nothing is paid' if self._charges else ''}.",
            Fate.ASKED: f"{service} was asked to stop. If it had begun, it may go on{charge}.",
            Fate.BEGUN: f"{service} had begun, and was asked to stop. It may go on{charge}; {used}",
            Fate.DONE: f"{service} was done already{', and charges for it' if self._charges else ''}; {used}",
            Fate.UNKNOWN: f"{service} could not be asked to stop. It may go on{charge}.",
        }[fate]
        return Cancelled("Cancelled.", told)
