"""api.fal.ai: the requests that there are, so that a client which lost an id finds it again."""

import base64
import binascii
import datetime
import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.server.fal.documents import ERRORS, TURNED_AWAY
from bridge.server.fal.errors import FalError, detail, json_response, unprocessable
from bridge.server.fal.hosts import ENDPOINT, Way
from bridge.server.fal.pending import iso
from bridge.server.fal.requests import FalRequest, Kind, Listing, Requests
from bridge.server.fal.responses import output
from bridge.server.fal.run import way_of
from bridge.server.fal.schema import RequestList

DAY = 86_400.0
A_DAY_AGO, LONG_AGO = DAY, 90 * DAY


def platform_routes(requests: Requests) -> APIRouter:
    """The history."""
    routes = APIRouter(prefix="/v1", tags=["platform"])

    @routes.get(
        "/models/requests/by-endpoint", responses={200: {"model": RequestList}, 422: ERRORS[422], **TURNED_AWAY}
    )
    async def list_requests(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        endpoint_id: Annotated[list[str], Query(min_length=1, max_length=50)],
        start: Annotated[str | None, Query(description="ISO 8601; a day ago where left out")] = None,
        end: Annotated[str | None, Query(description="ISO 8601, exclusive; now where left out")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        cursor: Annotated[str | None, Query(description="next_cursor of the page before")] = None,
        status: Annotated[Kind | None, Query()] = None,
        request_id: Annotated[str | None, Query()] = None,
        expand: Annotated[list[str] | None, Query(description="payloads: tell inputs and outputs too")] = None,
        sort_by: Annotated[Literal["ended_at", "duration"], Query()] = "ended_at",
    ) -> Response:
        """Requests, those that still wait or run first, then by their end, latest first."""
        endpoints = {name for each in endpoint_id for name in each.split(",")}
        since = _moment("start", start, time.time() - (A_DAY_AGO if request_id is None else LONG_AGO))
        until = _moment("end", end, float("inf"))
        page = _page(cursor)
        wanted = Listing(
            since,
            until,
            request_id=_job(request_id),
            kind=status,
            by_duration=sort_by == "duration",
            offset=(page - 1) * limit,
            limit=limit + 1,
        )
        found = requests.listed(wanted) if ENDPOINT in endpoints else []
        payloads = expand is not None and any("payloads" in each.split(",") for each in expand)
        has_more = len(found) > limit
        told = {
            "items": [_item(each, way_of(request), payloads=payloads) for each in found[:limit]],
            "next_cursor": _cursor(page + 1) if has_more else None,
            "has_more": has_more,
        }
        return json_response(told)

    return routes


def _item(request: FalRequest, way: Way, *, payloads: bool) -> dict[str, Any]:
    record, over = request.record, request.over
    failure = request.failure if over else None
    ended = record.over if over else None
    told: dict[str, Any] = {
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
            told["json_input"] = record.input
        if failure is not None:
            told["json_output"] = failure.body
        elif over and not record.sync:
            told["json_output"] = output(request, way)
    return told


def _job(given: str | None) -> str | None:
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
    if page < 1:
        raise _wrong("cursor", "must be the next_cursor of the page before.")
    return page


def _cursor(page: int) -> str:
    return base64.b64encode(str(page).encode()).decode()


def _wrong(name: str, must: str) -> FalError:
    return unprocessable([detail("value_error", f"{name} {must}", ["query", name])])
