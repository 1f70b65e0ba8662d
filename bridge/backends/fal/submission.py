"""One request's way into fal's queue: written down before its first byte leaves, and never sent twice."""

import asyncio
import time
from dataclasses import replace

from bridge.backends.base import Paced, Progress, RemoteError, RemoteJob
from bridge.backends.fal import queue
from bridge.backends.fal.arguments import arguments
from bridge.backends.fal.client import Client
from bridge.backends.fal.handle import Handle, Intent, Submitted, to_text
from bridge.settings import Settings


class Submission:
    """image: the picture's URL, or the picture itself as one. start_within: seconds after which fal need not begin."""

    def __init__(self, image: str, settings: Settings, job: RemoteJob, client: Client, start_within: float) -> None:
        self._job = job
        self._client = client
        self._start_within = start_within
        self._arguments = arguments(settings, image, job.seed)
        self._intent = Intent(0.0, job.seed, "" if image.startswith("data:") else image)
        self._on_the_way = False
        """The intent is written down: the request may be under way, and nobody knows yet whether it arrived."""
        self._cancelled = False

    async def run(self) -> Handle:
        """The request, or the intent where it cannot be told whether fal took it. Raises RemoteError where it did not.

        Where this is cancelled while a request is on its way, its answer is waited for, for up to half of the job's
        patience: unseen, it could not be cancelled at fal.
        """
        task = asyncio.ensure_future(self._submitted())
        try:
            return await asyncio.shield(task) or self._intent
        except asyncio.CancelledError:
            self._cancelled = True
            if self._on_the_way:
                began = time.monotonic()
                await asyncio.wait({task}, timeout=self._job.patience / 2)
                self._job.patience -= time.monotonic() - began
            await self._keep_what_was_learned(task)
            raise
        finally:
            task.cancel()

    async def _submitted(self) -> Submitted | None:
        submitted = await queue.submit(
            self._arguments,
            self._client,
            seed=self._job.seed,
            start_within=self._start_within,
            before=self._write_down,
            not_taken=self._not_taken,
        )
        if submitted is not None:
            await self._job.keep(to_text(submitted))
        return submitted

    async def _write_down(self) -> None:
        self._on_the_way = True
        self._intent = replace(self._intent, at=time.time() + self._client.ahead)
        await self._job.keep(to_text(self._intent))
        if self._cancelled:  # not a byte has left yet
            await self._take_back()
            raise asyncio.CancelledError

    async def _not_taken(self, status: int) -> None:
        self._job.tell(
            Paced("fal has too much to do: waiting", 0, 1, pace="refused")
            if status == 429
            else Progress("fal cannot be reached: trying again", 0, 1)
        )
        await self._take_back()
        if self._cancelled:
            raise asyncio.CancelledError

    async def _take_back(self) -> None:
        await self._job.keep("")
        self._on_the_way = False

    async def _keep_what_was_learned(self, task: "asyncio.Task[Submitted | None]") -> None:
        """After a cancel: fal has certainly not taken what it refused."""
        if task.done() and not task.cancelled() and isinstance(task.exception(), RemoteError):
            await self._take_back()
