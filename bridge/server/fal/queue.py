"""queue.fal.run: requests that are asked for again by their id."""

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from bridge.jobs.files import JobFiles
from bridge.server.fal.documents import BODY, ERRORS, NOT_FOUND, STREAM, TURNED_AWAY
from bridge.server.fal.errors import flat, json_response, not_found
from bridge.server.fal.hosts import ENDPOINT, Way
from bridge.server.fal.requests import FalRequest, Requests
from bridge.server.fal.responses import addresses, identified, result, status
from bridge.server.fal.run import BREATH, way_of
from bridge.server.fal.schema import CancelStatus, QueueStatus, QwenImageLayeredOutput, Refusal
from bridge.server.fal.submission import read_submission

LOOK_EVERY = 1.0
"""Seconds; a place in the queue changes without a word from the request itself."""

REQUEST = f"/{ENDPOINT}/requests/{{request_id}}"
LOGS = {
    "parameters": [
        {
            "name": "logs",
            "in": "query",
            "required": False,
            "description": "Whether to tell the log: 1 or true",
            "schema": {"type": "string"},
        }
    ]
}


def queue_routes(requests: Requests, jobs: JobFiles) -> APIRouter:
    """Submitting, asking, and cancelling."""
    routes = APIRouter(tags=["queue"])

    @routes.post(f"/{ENDPOINT}", openapi_extra=BODY, responses={200: {"model": QueueStatus}, **ERRORS})
    async def submit(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Put a request into the queue. It is written down before this answers."""
        found = await requests.take(await read_submission(request), attended=False)
        told = {"status": "IN_QUEUE", **addresses(found, way_of(request)), "queue_position": requests.position(found)}
        return json_response(told, headers=identified(found))

    @routes.get(
        f"{REQUEST}/status",
        openapi_extra=LOGS,
        responses={200: {"model": QueueStatus}, 202: {"model": QueueStatus}, **TURNED_AWAY, **NOT_FOUND},
    )
    async def tell_status(request: Request, request_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Where a request is: 202 until it is completed, then 200."""
        found = _find(requests, request_id)
        told = status(requests, found, way_of(request), logs_from=_first_line(request))
        code = 200 if told["status"] == "COMPLETED" else 202
        return json_response(told, code, identified(found))

    @routes.get(f"{REQUEST}/status/stream", openapi_extra=LOGS, responses={200: STREAM, **TURNED_AWAY, **NOT_FOUND})
    async def stream_status(request: Request, request_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Where a request is, at each change, with what the log has got since; ends after COMPLETED."""
        found = _find(requests, request_id)
        events = _changes(requests, found, way_of(request), logs=_first_line(request) is not None)
        return StreamingResponse(events, headers=identified(found), media_type="text/event-stream")

    @routes.get(
        REQUEST,
        responses={200: {"model": QwenImageLayeredOutput}, **ERRORS, **NOT_FOUND, 400: {"model": Refusal}},
    )
    @routes.get(f"{REQUEST}/response", include_in_schema=False)
    async def tell_result(request: Request, request_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """A completed request's result, or what went wrong with it."""
        found = _find(requests, request_id)
        if not found.over:
            return flat(400, "Request is still in progress", "request_in_progress").response(identified(found))
        return result(jobs, found, way_of(request))

    @routes.put(
        f"{REQUEST}/cancel",
        status_code=202,
        responses={
            202: {"model": CancelStatus},
            400: {"model": CancelStatus, "description": "It is completed already"},
            404: {"model": CancelStatus, "description": "There is no such request"},
            **TURNED_AWAY,
        },
    )
    async def cancel(request_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Take a request out of the queue, or stop it."""
        found = requests.find(request_id)
        if found is None:
            return json_response({"status": "NOT_FOUND"}, 404)
        if not requests.cancel(found):
            return json_response({"status": "ALREADY_COMPLETED"}, 400, identified(found))
        return json_response({"status": "CANCELLATION_REQUESTED"}, 202, identified(found))

    return routes


def _find(requests: Requests, request_id: str) -> FalRequest:
    found = requests.find(request_id)
    if found is None:
        raise not_found("Request")
    return found


def _first_line(request: Request) -> int | None:
    """From which line on the log is wanted: the first, or none."""
    return 0 if request.query_params.get("logs", "").lower() in ("1", "true", "yes", "on") else None


async def _changes(requests: Requests, found: FalRequest, way: Way, *, logs: bool) -> AsyncIterator[bytes]:
    pending = found.pending
    told: object = None
    lines, quiet = 0, 0.0
    while True:
        seen = pending.version if pending is not None else 0
        body = status(requests, found, way, logs_from=lines if logs else None)
        news = body.get("logs", [])
        lines += len(news)
        if news or {**body, "logs": []} != told:
            told, quiet = {**body, "logs": []}, 0.0
            yield b"data: " + json.dumps(body).encode() + b"\n\n"
        if body["status"] == "COMPLETED" or pending is None:
            return
        if not await pending.change(seen, LOOK_EVERY):
            quiet += LOOK_EVERY
        if quiet >= BREATH:
            quiet = 0.0
            yield b": still waiting\n\n"
