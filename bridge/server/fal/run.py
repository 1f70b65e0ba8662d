"""fal.run: a request whose client waits for the result, or follows it as a stream."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from bridge.errors import UnflattenError
from bridge.jobs.files import JobFiles
from bridge.server.fal.documents import BODY, ERRORS, STREAM
from bridge.server.fal.hosts import ENDPOINT, Way
from bridge.server.fal.pending import PendingRequest
from bridge.server.fal.requests import FalRequest, NotBegun, Requests
from bridge.server.fal.responses import identified, result, result_event
from bridge.server.fal.schema import QwenImageLayeredOutput
from bridge.server.fal.submission import read_submission

BREATH = 15.0
"""Seconds between two signs of life on a stream."""


class _Gone(UnflattenError):
    """The client closed its connection; nobody reads the answer."""

    code = "cancelled"
    kind = "cancelled"

    def __init__(self) -> None:
        super().__init__("The client left.")


def way_of(request: Request) -> Way:
    """The addresses to tell this client."""
    return request.scope["fal_way"]


def run_routes(requests: Requests, jobs: JobFiles) -> APIRouter:
    """Running and streaming."""
    routes = APIRouter(tags=["run"])

    @routes.post(f"/{ENDPOINT}", openapi_extra=BODY, responses={200: {"model": QwenImageLayeredOutput}, **ERRORS})
    async def run(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Take a picture apart, and answer with its layers."""
        submission = await read_submission(request)
        taken = await requests.take(submission, attended=True)
        if taken.pending is not None:
            await _wait(requests, taken.pending, request, submission.start_within)
        return result(jobs, taken, way_of(request))

    @routes.post(f"/{ENDPOINT}/stream", openapi_extra=BODY, responses={200: STREAM, **ERRORS})
    async def stream(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Take a picture apart, and tell the steps as they are done; the last event is the result."""
        submission = await read_submission(request)
        taken = await requests.take(submission, attended=True)
        if taken.pending is not None:
            await _wait(requests, taken.pending, request, submission.start_within, begun=True)
        way = way_of(request)
        if taken.over and taken.failure is not None:  # what is wrong with the picture is told by the status code
            return result(jobs, taken, way)
        events = _steps(requests, jobs, taken, way)
        return StreamingResponse(events, headers=identified(taken), media_type="text/event-stream")

    return routes


async def _wait(
    requests: Requests,
    pending: PendingRequest,
    request: Request,
    start_within: float | None,
    *,
    begun: bool = False,
) -> None:
    """Wait until a request is over, or has `begun`. Raises NotBegun after `start_within` seconds, and where the client
    leaves."""
    leaving = asyncio.ensure_future(_disconnected(request))
    ending = asyncio.ensure_future(pending.beginning() if begun else pending.over.wait())
    clock = start_within
    try:
        async with pending.attended():
            while not ending.done():
                await asyncio.wait({leaving, ending}, timeout=clock, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done():
                    raise _Gone()
                if clock is not None and not pending.begun and not ending.done():
                    raise NotBegun()
                clock = None
    finally:
        for task in (leaving, ending):
            task.cancel()
        requests.leave(pending)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _steps(requests: Requests, jobs: JobFiles, request: FalRequest, way: Way) -> AsyncIterator[bytes]:
    """What a request logs, as it does, and at last its result."""
    pending = request.pending
    if pending is not None:
        try:
            async with pending.attended():
                told = 0
                while not pending.over.is_set():
                    seen = pending.version
                    lines, told = pending.record.log[told:], len(pending.record.log)
                    if lines:
                        step = {"status": "IN_PROGRESS", "images": [], "logs": lines}
                        yield b"data: " + json.dumps(step).encode() + b"\n\n"
                    if not await pending.change(seen, BREATH):
                        yield b": still at work\n\n"
        finally:
            requests.leave(pending)
    async for piece in result_event(jobs, request, way):
        yield piece
