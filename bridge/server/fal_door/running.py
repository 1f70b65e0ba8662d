"""fal.run: a request whose client waits for the result, or follows it as a stream."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from bridge.errors import UnflattenError
from bridge.jobs.spool import Spool
from bridge.server.fal_door.asked import read_asked
from bridge.server.fal_door.desk import Desk, NotBegun
from bridge.server.fal_door.documents import BODY, ERRORS, STREAM
from bridge.server.fal_door.hosts import ENDPOINT, Way
from bridge.server.fal_door.schema import QwenImageLayeredOutput
from bridge.server.fal_door.telling import failure, identified, result, result_line
from bridge.server.fal_door.ticket import Ticket

BREATH = 15.0
"""Seconds between two signs of life on a stream."""


class _Gone(UnflattenError):
    """The client closed its connection; nobody reads the answer."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("The client left.")


def way_of(request: Request) -> Way:
    """The addresses to tell this client."""
    return request.scope["fal_way"]


def run_routes(desk: Desk, spool: Spool) -> APIRouter:
    """Running and streaming."""
    routes = APIRouter(tags=["run"])

    @routes.post(f"/{ENDPOINT}", openapi_extra=BODY, responses={200: {"model": QwenImageLayeredOutput}, **ERRORS})
    async def run(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Take a picture apart, and answer with its layers."""
        asked = await read_asked(request)
        entry = await desk.take(asked, attended=True)
        ticket = desk.ticket(entry)
        if ticket is not None:
            await _wait(desk, ticket, request, asked.start_within)
        return result(desk, spool, entry, way_of(request))

    @routes.post(f"/{ENDPOINT}/stream", openapi_extra=BODY, responses={200: STREAM, **ERRORS})
    async def stream(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Take a picture apart, and tell the steps as they are done; the last event is the result."""
        asked = await read_asked(request)
        entry = await desk.take(asked, attended=True)
        ticket = desk.ticket(entry)
        if ticket is not None:
            await _wait(desk, ticket, request, asked.start_within, begun=True)
        way = way_of(request)
        if ticket is not None and not ticket.over.is_set():
            events = _steps(desk, spool, ticket, way)
        elif failure(entry) is None:
            events = result_line(desk, spool, entry, way)
        else:  # what is wrong with the picture is told by the status code
            return result(desk, spool, entry, way)
        return StreamingResponse(events, headers=identified(entry), media_type="text/event-stream")

    return routes


async def _wait(
    desk: Desk, ticket: Ticket, request: Request, start_within: float | None, *, begun: bool = False
) -> None:
    """Wait until a request is over, or has `begun`. Raises NotBegun after `start_within` seconds, and where the client
    leaves."""
    leaving = asyncio.ensure_future(_disconnected(request))
    ending = asyncio.ensure_future(ticket.beginning() if begun else ticket.over.wait())
    clock = start_within
    try:
        async with ticket.attended():
            while not ending.done():
                await asyncio.wait({leaving, ending}, timeout=clock, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done():
                    raise _Gone()
                if clock is not None and not ticket.begun and not ending.done():
                    raise NotBegun()
                clock = None
    finally:
        for task in (leaving, ending):
            task.cancel()
        desk.leave(ticket)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _steps(desk: Desk, spool: Spool, ticket: Ticket, way: Way) -> AsyncIterator[bytes]:
    """What a request tells, as it tells it, and at last its result."""
    told = 0
    try:
        async with ticket.attended():
            while not ticket.over.is_set():
                seen = ticket.version
                lines, told = ticket.logs[told:], len(ticket.logs)
                if lines:
                    step = {"status": "IN_PROGRESS", "images": [], "logs": lines}
                    yield b"data: " + json.dumps(step).encode() + b"\n\n"
                if not await ticket.change(seen, BREATH):
                    yield b": still at work\n\n"
        async for piece in result_line(desk, spool, ticket.entry, way):
            yield piece
    finally:
        desk.leave(ticket)
