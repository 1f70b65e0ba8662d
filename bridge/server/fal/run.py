"""fal.run: a request whose client waits for the result, or follows it as a stream."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bridge.errors import Cancelled
from bridge.jobs.files import JobFiles
from bridge.server.fal.hosts import ENDPOINT, BaseURLs, urls_of
from bridge.server.fal.pending import FalRequest, PendingRequest
from bridge.server.fal.requests import NotBegun, Requests
from bridge.server.fal.responses import SIGN_OF_LIFE, event, identified, result, result_event
from bridge.server.fal.submission import read_submission


class Run:
    """Running and streaming."""

    def __init__(self, requests: Requests, jobs: JobFiles) -> None:
        self._requests = requests
        self._jobs = jobs

    def routes(self) -> list[Route]:
        return [
            Route(f"/{ENDPOINT}", self.run, methods=["POST"]),
            Route(f"/{ENDPOINT}/stream", self.stream, methods=["POST"]),
        ]

    async def run(self, request: Request) -> Response:
        """Take a picture apart, and answer with its layers."""
        async with self._requests.room.place(request):
            submission = await read_submission(request)
            taken = await self._requests.take(submission, attended=True)
        if taken.pending is not None:
            await self._wait(taken.pending, request, submission.start_within)
        return result(self._jobs, taken, urls_of(request))

    async def stream(self, request: Request) -> Response:
        """Take a picture apart, and tell the steps as they are done; the last event is the result."""
        async with self._requests.room.place(request):
            submission = await read_submission(request)
            taken = await self._requests.take(submission, attended=True)
        if taken.pending is not None:
            await self._wait(taken.pending, request, submission.start_within, begun=True)
        urls = urls_of(request)
        if taken.over and taken.failure is not None:  # what is wrong with the picture is told by the status code
            return result(self._jobs, taken, urls)
        events = self._steps(taken, urls)
        return StreamingResponse(events, headers=identified(taken), media_type="text/event-stream")

    async def _wait(
        self, pending: PendingRequest, request: Request, start_within: float | None, *, begun: bool = False
    ) -> None:
        """Wait until a request is over, or has `begun`.

        Raises NotBegun after `start_within` seconds, and Cancelled where the client leaves.
        """
        leaving = asyncio.ensure_future(_disconnected(request))
        ending = asyncio.ensure_future(pending.beginning() if begun else pending.over.wait())
        clock = start_within
        try:
            async with pending.attended():
                while not ending.done():
                    await asyncio.wait({leaving, ending}, timeout=clock, return_when=asyncio.FIRST_COMPLETED)
                    if leaving.done():
                        raise Cancelled("The client left.")
                    if clock is not None and not pending.begun and not ending.done():
                        raise NotBegun()
                    clock = None
        finally:
            for task in (leaving, ending):
                task.cancel()
            self._requests.leave(pending)

    async def _steps(self, request: FalRequest, urls: BaseURLs) -> AsyncIterator[bytes]:
        """What a request logs, as it does, and at last its result."""
        pending, sent = request.pending, 0
        if pending is not None:
            try:
                async with pending.attended():
                    while not pending.over.is_set():
                        seen = pending.version
                        lines, sent = pending.record.log[sent:], len(pending.record.log)
                        if lines:
                            yield event({"status": "IN_PROGRESS", "images": [], "logs": lines})
                        if not await pending.change(seen, SIGN_OF_LIFE):
                            yield b": still at work\n\n"
            finally:
                self._requests.leave(pending)
        async for piece in result_event(self._jobs, request, urls):
            yield piece


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
