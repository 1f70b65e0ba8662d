"""queue.fal.run: requests that are asked for again by their id."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bridge.jobs.files import JobFiles
from bridge.server.fal.errors import flat, json_response, not_found
from bridge.server.fal.hosts import ENDPOINT, BaseURLs, urls_of
from bridge.server.fal.pending import FalRequest
from bridge.server.fal.requests import Requests
from bridge.server.fal.responses import SIGN_OF_LIFE, Body, addresses, event, identified, result, status
from bridge.server.fal.submission import read_submission

LOOK_EVERY = 1.0
"""Seconds; a place in the queue changes without a word from the request itself."""
REQUEST = f"/{ENDPOINT}/requests/{{request_id}}"


class Queue:
    """Submitting, asking, and cancelling."""

    def __init__(self, requests: Requests, jobs: JobFiles) -> None:
        self._requests = requests
        self._jobs = jobs

    def routes(self) -> list[Route]:
        return [
            Route(f"/{ENDPOINT}", self.submit, methods=["POST"]),
            Route(f"{REQUEST}/status", self.status, methods=["GET"]),
            Route(f"{REQUEST}/status/stream", self.stream_status, methods=["GET"]),
            Route(REQUEST, self.result, methods=["GET"]),
            Route(f"{REQUEST}/response", self.result, methods=["GET"]),
            Route(f"{REQUEST}/cancel", self.cancel, methods=["PUT"]),
        ]

    async def submit(self, request: Request) -> Response:
        """Put a request into the queue. It is written down before this answers."""
        async with self._requests.room.place(request):
            taken = await self._requests.take(await read_submission(request), attended=False)
        position = self._requests.position(taken)
        body = {"status": "IN_QUEUE", **addresses(taken, urls_of(request)), "queue_position": position}
        return json_response(body, headers=identified(taken))

    async def status(self, request: Request) -> Response:
        """Where a request is: 202 until it is completed, then 200."""
        found = self._find(request)
        body = self._status(found, urls_of(request), logs_from=0 if _wants_logs(request) else None)
        return json_response(body, 200 if body["status"] == "COMPLETED" else 202, identified(found))

    async def stream_status(self, request: Request) -> Response:
        """Where a request is, at each change, with what the log has got since; ends after COMPLETED."""
        found = self._find(request)
        events = self._changes(found, urls_of(request), logs=_wants_logs(request))
        return StreamingResponse(events, headers=identified(found), media_type="text/event-stream")

    async def result(self, request: Request) -> Response:
        """A completed request's result, or what went wrong with it."""
        found = self._find(request)
        if not found.over:
            return flat(400, "Request is still in progress", "request_in_progress").response(identified(found))
        return result(self._jobs, found, urls_of(request))

    async def cancel(self, request: Request) -> Response:
        """Take a request out of the queue, or stop it."""
        found = self._requests.find(request.path_params["request_id"])
        if found is None:
            return json_response({"status": "NOT_FOUND"}, 404)
        if not self._requests.cancel(found):
            return json_response({"status": "ALREADY_COMPLETED"}, 400, identified(found))
        return json_response({"status": "CANCELLATION_REQUESTED"}, 202, identified(found))

    def _status(self, found: FalRequest, urls: BaseURLs, *, logs_from: int | None) -> Body:
        return status(found, urls, position=self._requests.position(found), logs_from=logs_from)

    def _find(self, request: Request) -> FalRequest:
        found = self._requests.find(request.path_params["request_id"])
        if found is None:
            raise not_found("Request")
        return found

    async def _changes(self, found: FalRequest, urls: BaseURLs, *, logs: bool) -> AsyncIterator[bytes]:
        pending = found.pending
        last: Body | None = None
        lines, quiet = 0, 0.0
        while True:
            seen = pending.version if pending is not None else 0
            body = self._status(found, urls, logs_from=lines if logs else None)
            news = body.get("logs", [])
            lines += len(news)
            state: Body = {**body, "logs": []}
            if news or state != last:
                last, quiet = state, 0.0
                yield event(body)
            if body["status"] == "COMPLETED" or pending is None:
                return
            if not await pending.change(seen, LOOK_EVERY):
                quiet += LOOK_EVERY
            if quiet >= SIGN_OF_LIFE:
                quiet = 0.0
                yield b": still waiting\n\n"


def _wants_logs(request: Request) -> bool:
    return request.query_params.get("logs", "").lower() in ("1", "true", "yes", "on")
