"""fal's queue: hand an order over, follow it, fetch what came of it, call it off."""

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import httpx

from bridge.backends.fal import retries, troubles
from bridge.backends.fal.account import ENDPOINT, Places
from bridge.backends.fal.handle import Ticket
from bridge.backends.fal.storage import LIFECYCLE, PATIENCE
from bridge.backends.fal.wire import Answer, Wire
from bridge.errors import UnflattenError
from bridge.urls import UnsafeURL, origin_of

SILENCE = 45.0
"""Seconds: fal sends a sign of life every 15."""
LONGEST_LINE = 2**20
POLLS = (0.5, 5.0)
"""Seconds between two questions, where there is no stream: at first, and at most."""
CALL_OFF_PATIENCE = 1.5
"""Seconds: a job that does not stop in three is stopped by force."""
MOST_SAME = 5
"""Times that fal may say that it failed, without a type, before that is what became of the request."""
MOST_RESULT = 96 * 2**20
"""Bytes; with sync_mode all layers are in it."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class Status:
    """position: how many go first, while it waits in the queue."""

    state: str
    position: int | None = None
    logs: tuple[str, ...] = ()
    error_type: str = ""

    @property
    def complete(self) -> bool:
        """Whatever is neither waiting nor at work has an answer, good or bad."""
        return self.state not in ("IN_QUEUE", "IN_PROGRESS")


async def hand_over(
    order: dict[str, Any],
    wire: Wire,
    *,
    seed: int,
    start_within: float,
    before: Callable[[], Awaitable[None]],
    not_taken: Callable[[int], Awaitable[None]],
) -> Ticket | None:
    """Submit `order`; None where it cannot be told whether fal took it. Raises Trouble where it certainly did not.

    Tried again only where it certainly was not taken. before: awaited in each try when the connection is there, and
    before a byte of the order goes over it. not_taken: awaited after a try that will be made again, with HTTP's status
    or 0. start_within: seconds after which fal need not begin any more.
    """
    headers = {**LIFECYCLE, "X-Fal-Store-IO": "0", "X-Fal-Request-Timeout": f"{start_within:.0f}"}
    reachable_until = time.monotonic() + PATIENCE
    for attempt in itertools.count(1):
        try:
            answer = await wire.call(
                "POST", f"{wire.places.queue}/{ENDPOINT}", before=before, json=order, headers=headers
            )
        except httpx.TransportError as error:
            if not retries.was_not_sent(error):
                return None
            if time.monotonic() > reachable_until:
                raise troubles.unreachable() from None
            answer = None
        if answer is not None:
            if answer.ok:
                return _ticket(answer.json(), wire.places, seed)
            certain = answer.status == 429 or _says_no(answer)
            if not certain and (answer.status >= 500 or answer.status == 408):
                return None
            if not certain or (answer.status != 429 and time.monotonic() > reachable_until):
                raise troubles.trouble_of(answer.status, answer.headers, answer.body)
        await not_taken(answer.status if answer is not None else 0)
        await asyncio.sleep(retries.delay(attempt, answer.headers.get("retry-after") if answer else None))
    raise AssertionError


def _says_no(answer: Answer) -> bool:
    """Whether a 503 comes from the queue itself, in its own form; anyone on the way may send a bare one."""
    told = answer.json()
    return answer.status == 503 and ("detail" in told or "error_type" in told) and "request_id" not in told


def _ticket(told: dict[str, Any], places: Places, seed: int) -> Ticket | None:
    request_id = told.get("request_id")
    if not isinstance(request_id, str) or not _ID.fullmatch(request_id):
        return None
    status_url, response_url, cancel_url = (
        str(told.get(f"{each}_url", "")) for each in ("status", "response", "cancel")
    )
    return located(Ticket(request_id, status_url, response_url, cancel_url, seed), places)


def located(ticket: Ticket, places: Places) -> Ticket:
    """The ticket with URLs that may be given the key: as fal wrote them, if they lead to where it is configured."""
    request = f"{places.queue}/{ENDPOINT}/requests/{ticket.request_id}"
    built = {"status_url": f"{request}/status", "response_url": request, "cancel_url": f"{request}/cancel"}
    home = origin_of(places.queue)
    return replace(ticket, **{name: url for name, url in built.items() if not _leads_to(getattr(ticket, name), home)})


def _leads_to(url: str, home: object) -> bool:
    try:
        return origin_of(url) == home
    except UnsafeURL:
        return False


async def follow(
    ticket: Ticket, wire: Wire, *, patience: float, heard: Callable[[Status], None], lost: Callable[[], None]
) -> Status | None:
    """Tell `heard` each status up to the last, and return that; None where fal does not know the request.

    By the stream, and by asking where that breaks off. patience: seconds without any answer; lost: called while there
    is none. Raises Trouble.
    """
    streams, pause = True, POLLS[0]
    while True:
        if streams:
            streams = False
            try:
                async with aclosing(_stream(ticket, wire)) as statuses:
                    async for status in statuses:
                        heard(status)
                        streams = True
                        if status.complete:
                            return status
            except (httpx.TransportError, UnflattenError):
                pass
        answer = await wire.insist("GET", ticket.status_url, params={"logs": "1"}, patience=patience, waiting=lost)
        if answer is None:
            raise troubles.lost()
        if answer.status in (404, 410):
            return None
        if not answer.ok:
            raise _held(answer)
        status = _status(answer.json())
        if status is not None:
            heard(status)
            if status.complete:
                return status
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLLS[1])


async def _stream(ticket: Ticket, wire: Wire) -> AsyncGenerator[Status]:
    """The statuses as fal tells them by itself, until it says nothing more. Raises httpx.TransportError."""
    headers = {"Accept": "text/event-stream"}
    async with wire.stream(
        f"{ticket.status_url}/stream", silence=SILENCE, params={"logs": "1"}, headers=headers
    ) as response:
        if response.status_code != 200 or "text/event-stream" not in response.headers.get("content-type", ""):
            return
        rest = b""
        async for piece in response.aiter_raw():
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                return
            for line in lines:
                if line.startswith(b"data:") and (status := _status(_object(line[5:]))) is not None:
                    yield status


def _object(text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _status(told: dict[str, Any]) -> Status | None:
    state, position, logs = told.get("status"), told.get("queue_position"), told.get("logs")
    if not isinstance(state, str) or not state:
        return None
    lines = [each.get("message") for each in logs if isinstance(each, dict)] if isinstance(logs, list) else []
    return Status(
        state,
        position if isinstance(position, int) and position >= 0 else None,
        tuple(line for line in lines if isinstance(line, str)),
        str(told.get("error_type") or ("internal_server_error" if told.get("error") else "")),
    )


async def result(
    ticket: Ticket, wire: Wire, *, patience: float, lost: Callable[[], None], failed: bool = False
) -> dict[str, Any] | None:
    """What came of the request; None where it is not there yet. Raises Trouble: also its own, where it failed.

    failed: fal has said so already, and whatever it answers now is the reason.
    """
    same = itertools.count(1)

    def settled(answer: Answer) -> bool:
        told = "detail" in answer.json() and answer.status != 429
        return failed or _is_verdict(answer) or (told and next(same) >= MOST_SAME)

    answer = await wire.insist(
        "GET",
        ticket.response_url,
        patience=patience,
        settled=settled,
        waiting=lost,
        most=MOST_RESULT,
    )
    if answer is None:
        raise troubles.lost()
    if answer.status == 202 or (answer.status == 400 and "in progress" in str(answer.json().get("detail"))):
        return None
    if answer.garbled:
        raise troubles.not_fetched()
    if answer.ok:
        return answer.json()
    if answer.status in (404, 410):
        raise troubles.gone()
    if answer.status in (401, 403):
        raise _held(answer)
    if answer.status in retries.PASSING and not failed and "detail" not in answer.json():
        raise troubles.not_fetched()
    raise troubles.trouble_of(answer.status, answer.headers, answer.body)


def _is_verdict(answer: Answer) -> bool:
    """Whether an answer that looks like a passing failure is what became of the request."""
    told = answer.json()
    typed = isinstance(told.get("detail"), list) or "error_type" in told
    return answer.status != 429 and (typed or "x-fal-error-type" in answer.headers)


def _held(answer: Answer) -> troubles.Trouble:
    """What keeps us from asking after a request that goes on without us."""
    trouble = troubles.trouble_of(answer.status, answer.headers, answer.body)
    return troubles.Trouble(trouble.code, trouble.message, f"{trouble.hint} {troubles.FETCHED_LATER}", holds=True)


async def call_off(ticket: Ticket, wire: Wire, *, begun: bool, spare_begun: bool) -> str:
    """Ask fal to drop the request; what became of it: removed, begun, asked, done or unknown (see troubles.cancelled).

    begun: whether it was seen at work. spare_begun: ask only where it is not.
    """
    fate = "unknown"
    try:
        async with asyncio.timeout(CALL_OFF_PATIENCE):
            if spare_begun and (begun or await _state(ticket, wire) != "IN_QUEUE"):
                return "begun"
            answer = await wire.call("PUT", ticket.cancel_url)
            if answer.status == 404:
                return "removed"
            if answer.json().get("status") == "ALREADY_COMPLETED":
                return "done"
            if answer.ok:  # which says only that it was heard
                fate = "begun" if begun else "asked"
                found = await _state(ticket, wire)
                fate = {"client_cancelled": "removed", "IN_PROGRESS": "begun", "COMPLETED": "done"}.get(found, fate)
    except (TimeoutError, httpx.TransportError, UnflattenError):
        pass
    return fate


async def _state(ticket: Ticket, wire: Wire) -> str:
    """Where the request stands now, or what it failed of."""
    status = _status((await wire.call("GET", ticket.status_url)).json())
    return "" if status is None else status.error_type or status.state
