"""api.fal.ai: the requests that there are, so that a client which lost an id finds it again."""

import base64
import binascii
import datetime
import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.jobs.journal import Entry, State
from bridge.server.fal_door.desk import Desk
from bridge.server.fal_door.documents import ERRORS, TURNED_AWAY
from bridge.server.fal_door.errors import FalError, detail, json_response, unprocessable
from bridge.server.fal_door.hosts import ENDPOINT, Way
from bridge.server.fal_door.running import way_of
from bridge.server.fal_door.schema import RequestList
from bridge.server.fal_door.telling import failure, is_over, output, request_id
from bridge.server.fal_door.ticket import iso

DAY = 86_400.0
A_DAY_AGO, LONG_AGO = DAY, 90 * DAY

Kind = Literal["success", "error", "user_error", "queued", "in_progress"]


def platform_routes(desk: Desk) -> APIRouter:
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
        wanted = _job(request_id)
        page = _page(cursor)
        found = [
            entry
            for entry in (desk.all() if ENDPOINT in endpoints else ())
            if since <= _when(entry) < until
            and (request_id is None or entry.id == wanted)
            and (status is None or _kind(desk, entry) == status)
        ]
        found.sort(key=_duration if sort_by == "duration" else _order, reverse=True)
        shown = found[(page - 1) * limit : page * limit]
        payloads = expand is not None and any("payloads" in each.split(",") for each in expand)
        has_more = len(found) > page * limit
        told = {
            "items": [_item(desk, entry, way_of(request), payloads=payloads) for entry in shown],
            "next_cursor": _cursor(page + 1) if has_more else None,
            "has_more": has_more,
        }
        return json_response(told)

    return routes


def _item(desk: Desk, entry: Entry, way: Way, *, payloads: bool) -> dict[str, Any]:
    extra = entry.extra or {}
    over = is_over(desk, entry)
    wrong = failure(entry) if over else None
    ended, started = _ended(entry) if over else None, extra.get("started")
    told: dict[str, Any] = {
        "request_id": request_id(entry),
        "endpoint_id": ENDPOINT,
        "sent_at": iso(entry.created),
        "started_at": None if started is None else iso(started),
        "ended_at": None if ended is None else iso(ended),
        "status_code": (wrong.status if wrong is not None else 200) if over else None,
        "duration": None if ended is None else round(ended - entry.created, 3),
    }
    if payloads and extra.get("keep_io", True):
        if "input" in extra:
            told["json_input"] = extra["input"]
        if over and wrong is not None:
            told["json_output"] = wrong.body
        elif over and not extra.get("sync"):
            told["json_output"] = output(desk, entry, way)
    return told


def _kind(desk: Desk, entry: Entry) -> Kind:
    if not is_over(desk, entry):
        return "queued" if entry.state is State.QUEUED else "in_progress"
    wrong = failure(entry)
    if wrong is None:
        return "success"
    return "error" if wrong.status >= 500 else "user_error"


def _ended(entry: Entry) -> float:
    return (entry.extra or {}).get("over") or entry.ended or entry.created


def _when(entry: Entry) -> float:
    return entry.ended or entry.created


def _order(entry: Entry) -> tuple[bool, float]:
    return not entry.state.ended, _when(entry)


def _duration(entry: Entry) -> float:
    return _ended(entry) - entry.created


def _job(given: str | None) -> str | None:
    try:
        return None if given is None else uuid.UUID(given).hex
    except ValueError:
        return None


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
