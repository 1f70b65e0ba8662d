"""fal as a remote model: a picture is submitted once, followed, fetched; taken up where it was after a crash."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace

from bridge.backends.base import Fate, Fetched, NothingHeld, Paced, Progress, RemoteError, RemoteJob
from bridge.backends.fal import errors, images, listing, logs, queue, storage, values
from bridge.backends.fal.account import PRICE, Account
from bridge.backends.fal.client import Client
from bridge.backends.fal.handle import Intent, Submitted, from_text, ids_in, to_text
from bridge.backends.fal.submission import Submission
from bridge.downloads import TooLarge
from bridge.errors import UnflattenError
from bridge.settings import Settings
from bridge.urls import UnsafeURL

QUEUED_AFTER = 1.0
"""Seconds in the queue after which a request really waits there: each passes through it."""
TOO_EARLY = 1.0
"""Seconds before a result is asked for again that was said to be there and is not."""

CANCELLING = 0.9
"""Share of a job's patience that asking fal may take; the rest is for writing down that it was asked."""


class FalModel:
    """What its jobs share are connections, and which requests are known to be some job's.

    wall_clock: seconds that a job may take; fal need not begin after them.
    """

    def __init__(self, account: Account, wall_clock: float) -> None:
        self._client = Client(account)
        self._wall_clock = wall_clock
        self._fetching = asyncio.Semaphore(images.AT_ONCE)
        self._known: set[str] = set()
        """Request ids of jobs of now: no other job's lost request can be one of them."""

    async def submit(self, packed: bytes, settings: Settings, job: RemoteJob) -> str:
        """As in `RemoteModel`. Where the answer is lost it is the intent, which `follow` looks up."""
        async with _forgetting(job):
            job.tell(Progress(f"Sending the picture to fal (about ${PRICE:.2f})", 0, 1))
            image = await storage.upload(packed, self._client)
            handle = await Submission(image, settings, job, self._client, self._wall_clock).run()
            if isinstance(handle, Submitted):
                self._known.add(handle.request_id)
            return to_text(handle)

    async def follow(self, handle: str, settings: Settings, job: RemoteJob) -> AsyncIterator[Progress]:
        """As in `RemoteModel`. The last handle that it keeps says that the result is there."""
        async with _forgetting(job):
            request = await self._found(handle, job)
            if request.done:
                return
            async with aclosing(self._followed(request, job)) as steps:
                async for progress in steps:
                    yield progress
            await job.keep(to_text(replace(request, done=True)))

    async def fetch(self, handle: str, settings: Settings, job: RemoteJob) -> Fetched:
        """As in `RemoteModel`."""
        async with _forgetting(job):
            request = await self._found(handle, job)
            while (result := await self._result(request, job)) is None:
                await asyncio.sleep(TOO_EARLY)
                async with aclosing(self._followed(request, job)) as steps:
                    async for progress in steps:
                        job.tell(progress)
            job.tell(Progress("Fetching the layers from fal", 0, 1))
            files = await images.fetch_all(images.urls_in(result), self._client, self._fetching)
            seed = values.as_number(result.get("seed"))
            return Fetched(files, request.seed if seed is None else seed, PRICE, _is_flagged(result))

    async def cancel(self, handle: str, job: RemoteJob) -> Fate:
        """As in `RemoteModel`. A request that was called off is marked so, for whoever takes it up."""
        if not handle:
            return Fate.NOT_SENT
        try:
            known = from_text(handle)
        except RemoteError:
            return Fate.UNKNOWN
        if isinstance(known, Intent):
            return Fate.UNKNOWN
        if known.done:
            return Fate.DONE
        request = queue.located(known, self._client.addresses)
        patience = job.patience * CANCELLING
        fate = await queue.cancel(
            request, self._client, patience=patience, begun=job.begun, spare_begun=job.spare_begun
        )
        if not (job.spare_begun and fate == Fate.BEGUN):
            with suppress(UnflattenError):
                await job.keep(to_text(replace(request, called_off=True)))
        return fate

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _found(self, handle: str, job: RemoteJob) -> Submitted:
        """The request that a handle names; an intent's is looked up in fal's list. Raises RemoteError."""
        known = from_text(handle)
        if isinstance(known, Submitted):
            self._known.add(known.request_id)
            return queue.located(known, self._client.addresses)
        request = await listing.find(
            known,
            self._client,
            known=ids_in(job.others) | self._known,
            patience=self._wall_clock / 2,
            asking=lambda: job.tell(Progress("Asking fal whether it took the picture", 0, 1)),
        )
        await job.keep(to_text(request))
        self._known.add(request.request_id)
        return request

    async def _followed(self, request: Submitted, job: RemoteJob) -> AsyncGenerator[Progress]:
        """Progress until the request has ended well.

        Raises RemoteError: NothingHeld where an earlier run called it off in time.
        """
        watch = _Watch(job)
        try:
            statuses = queue.follow(request, self._client, patience=math.inf, lost=watch.lost)
            async with aclosing(statuses):
                async for status in statuses:
                    for progress in watch.hear(status):
                        yield progress
                    if status.complete and status.error_type:
                        raise await queue.failure(
                            request, self._client, status.error_type, patience=self._wall_clock, lost=watch.lost
                        )
        except RemoteError as error:
            if request.called_off and error.code in ("gone", "called_off"):
                raise NothingHeld from None
            raise
        finally:
            watch.stop()

    async def _result(self, request: Submitted, job: RemoteJob) -> values.Object | None:
        return await queue.result(request, self._client, patience=math.inf, lost=_Watch(job).lost)


def _is_flagged(result: values.Object) -> bool:
    """Whether the safety checker took note of any of the images, or of all of them at once."""
    flags = result.get("has_nsfw_concepts")
    return any(values.as_list(flags)) or (bool(flags) and not values.as_list(flags))


class _Watch:
    """What the user sees of a request's statuses."""

    def __init__(self, job: RemoteJob) -> None:
        self._job = job
        self._waits: asyncio.TimerHandle | None = None

    def hear(self, status: queue.Status) -> Iterator[Progress]:
        if status.state == "IN_QUEUE":
            many = status.position or 0
            before = f"{many} other{'s' * (many != 1)} before this one" if many else "this one is next"
            yield Progress(f"Waiting at fal: {before}", 0, 1)
            if self._waits is None and not self._job.begun:
                self._waits = asyncio.get_running_loop().call_later(QUEUED_AFTER, self._tell_queued)
            return
        self.stop()
        if not self._job.begun:
            self._job.begun = True
            yield Paced(logs.STAGE, 0, 1, pace="started")
        yield from filter(None, map(logs.read, status.logs))

    def lost(self) -> None:
        """fal does not answer."""
        self._job.tell(Progress("The connection to fal is lost: trying again", 0, 1))

    def stop(self) -> None:
        """No more waiting is told."""
        if self._waits is not None:
            self._waits.cancel()

    def _tell_queued(self) -> None:
        self._job.tell(Paced("Waiting at fal", 0, 1, pace="queued"))


@asynccontextmanager
async def _forgetting(job: RemoteJob) -> AsyncGenerator[None]:
    """Where an error says that fal holds nothing of the job, that is written down. What fal sends that no rule allows
    is such an error, too."""
    try:
        try:
            yield
        except TooLarge:
            raise errors.bad_result("is larger than any can be") from None
        except UnsafeURL:
            raise errors.bad_result("names an address that nothing is fetched from") from None
    except RemoteError as error:
        if not error.holds:
            await job.keep("")
        raise
