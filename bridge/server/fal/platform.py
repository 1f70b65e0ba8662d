"""api.fal.ai: the requests that there are, so that a client which lost an id finds it again."""

import base64
import binascii
import datetime
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge import clock
from bridge.server.fal.errors import FalError, detail, json_response, unprocessable
from bridge.server.fal.hosts import ENDPOINT, BaseURLs, urls_of
from bridge.server.fal.pending import FalRequest, iso
from bridge.server.fal.requests import Kind, Listing, Requests
from bridge.server.fal.responses import output
from bridge.server.fal.submission import checked_query

DAY = 86_400.0
MOST_PAGES = 10**9
"""More would not fit a number of SQLite."""
A_DAY_AGO, LONG_AGO = DAY, 90 * DAY
"""Seconds that the list goes back by itself, and where one request is asked for."""


class ListQuery(BaseModel):
    """What may be asked of the list. start, end: ISO 8601. cursor: next_cursor of the page before. expand: “payloads”
    tells inputs and outputs too."""

    endpoint_id: Annotated[list[str], Field(min_length=1, max_length=50)]
    start: str | None = None
    end: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: str | None = None
    status: Kind | None = None
    request_id: str | None = None
    expand: list[str] = []
    sort_by: Literal["ended_at", "duration"] = "ended_at"


class Platform:
    """The history."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def routes(self) -> list[Route]:
        return [Route("/v1/models/requests/by-endpoint", self.list_requests, methods=["GET"])]

    async def list_requests(self, request: Request) -> Response:
        """Requests, those that still wait or run first, then by their end, latest first."""
        query = checked_query(ListQuery, request)
        page = _page(query.cursor)
        wanted = Listing(
            since=_moment("start", query.start, clock.now() - (LONG_AGO if query.request_id else A_DAY_AGO)),
            until=_moment("end", query.end, float("inf")),
            request_id=_job_id(query.request_id),
            kind=query.status,
            by_duration=query.sort_by == "duration",
            offset=(page - 1) * query.limit,
            limit=query.limit + 1,
        )
        ours = ENDPOINT in ",".join(query.endpoint_id).split(",")
        found = self._requests.listed(wanted) if ours else []
        payloads = "payloads" in ",".join(query.expand).split(",")
        has_more = len(found) > query.limit
        body = {
            "items": [_item(each, urls_of(request), payloads=payloads) for each in found[: query.limit]],
            "next_cursor": _cursor(page + 1) if has_more else None,
            "has_more": has_more,
        }
        return json_response(body)


def _item(request: FalRequest, urls: BaseURLs, *, payloads: bool) -> dict[str, Any]:
    record, over = request.record, request.over
    failure = request.failure if over else None
    ended = record.over if over else None
    item: dict[str, Any] = {
        "request_id": request.id,
        "endpoint_id": ENDPOINT,
        "sent_at": iso(record.sent),
        "started_at": None if record.started is None else iso(record.started),
        "ended_at": None if ended is None else iso(ended),
        "status_code": (200 if failure is None else failure.status) if over else None,
        "duration": None if ended is None else round(ended - record.sent, 3),
    }
    if payloads and record.keep_io:
        if record.input is not None:
            item["json_input"] = record.input
        if failure is not None:
            item["json_output"] = failure.body
        elif over and not record.sync:
            item["json_output"] = output(request, urls)
    return item


def _job_id(given: str | None) -> str | None:
    """The id of a request's job; of a text that is no id one that no job has."""
    try:
        return None if given is None else uuid.UUID(given).hex
    except ValueError:
        return ""


def _moment(name: str, given: str | None, otherwise: float) -> float:
    """Seconds since the epoch."""
    if given is None:
        return otherwise
    try:
        moment = datetime.datetime.fromisoformat(given)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise _wrong(name, "must be a date in ISO 8601, such as 2026-01-31T12:00:00Z.") from None


def _page(cursor: str | None) -> int:
    if cursor is None:
        return 1
    try:
        page = int(base64.b64decode(cursor, validate=True))
    except (ValueError, binascii.Error):
        page = 0
    if not 1 <= page <= MOST_PAGES:
        raise _wrong("cursor", "must be the next_cursor of the page before.")
    return page


def _cursor(page: int) -> str:
    return base64.b64encode(str(page).encode()).decode()


def _wrong(name: str, must: str) -> FalError:
    return unprocessable([detail("value_error", f"{name} {must}", ["query", name])])
