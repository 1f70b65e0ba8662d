"""fal's queue: submit a request, follow it, fetch its result, cancel it."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

import httpx

from bridge.backends.base import Fate, RemoteError
from bridge.backends.fal import errors, retries, values
from bridge.backends.fal.account import ENDPOINT, Addresses
from bridge.backends.fal.client import Answer, Client
from bridge.backends.fal.handle import Submitted
from bridge.backends.fal.storage import LIFECYCLE, PATIENCE
from bridge.errors import UnflattenError
from bridge.urls import UnsafeURL, origin_of

SILENCE = 45.0
"""Seconds: fal sends a sign of life every 15."""
LONGEST_LINE = 2**20
POLLS = (0.5, 5.0)
"""Seconds between two questions, where there is no stream: at first, and at most."""
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
        """Whatever is neither waiting nor at work has a result, good or bad."""
        return self.state not in ("IN_QUEUE", "IN_PROGRESS")


async def submit(
    arguments: Mapping[str, object],
    client: Client,
    *,
    seed: int,
    start_within: float,
    before: Callable[[], Awaitable[None]],
    not_taken: Callable[[int], Awaitable[None]],
) -> Submitted | None:
    """Submit a request; None where it cannot be told whether fal took it. Raises RemoteError where it was not.

    Tried again only where it certainly was not taken. before: awaited in each try when the connection is there, and
    before a byte of the request goes over it. not_taken: awaited after a try that will be made again, with HTTP's
    status or 0. start_within: seconds after which fal need not begin any more.
    """
    headers = {**LIFECYCLE, "X-Fal-Store-IO": "0", "X-Fal-Request-Timeout": f"{start_within:.0f}"}
    reachable_until = time.monotonic() + PATIENCE
    for attempt in itertools.count(1):
        try:
            answer = await client.call(
                "POST", f"{client.addresses.queue}/{ENDPOINT}", before=before, json=arguments, headers=headers
            )
        except httpx.TransportError as error:
            if not retries.was_not_sent(error):
                return None
            if time.monotonic() > reachable_until:
                raise errors.unreachable() from None
            answer = None
        if answer is not None:
            if answer.ok:
                return _submitted(answer.json, client.addresses, seed)
            certain = answer.status == 429 or _says_no(answer)
            if not certain and (answer.status >= 500 or answer.status == 408):
                return None
            if not certain or (answer.status != 429 and time.monotonic() > reachable_until):
                raise errors.of_answer(answer.status, answer.headers, answer.body)
        await not_taken(answer.status if answer is not None else 0)
        await asyncio.sleep(retries.delay(attempt, answer.headers.get("retry-after") if answer else None))
    raise AssertionError


def _says_no(answer: Answer) -> bool:
    """Whether a 503 comes from the queue itself, in its own form; anyone on the way may send a bare one."""
    told = answer.json
    return answer.status == 503 and ("detail" in told or "error_type" in told) and "request_id" not in told


def _submitted(told: values.Object, addresses: Addresses, seed: int) -> Submitted | None:
    request_id = values.as_text(told.get("request_id"))
    if not _ID.fullmatch(request_id):
        return None
    status_url, response_url, cancel_url = (
        values.as_text(told.get(f"{each}_url")) for each in ("status", "response", "cancel")
    )
    return located(Submitted(request_id, status_url, response_url, cancel_url, seed), addresses)


def located(request: Submitted, addresses: Addresses) -> Submitted:
    """The request with URLs that may be given the key: as fal wrote them, if they lead to where it is configured."""
    base = f"{addresses.queue}/{ENDPOINT}/requests/{request.request_id}"
    built = {"status_url": f"{base}/status", "response_url": base, "cancel_url": f"{base}/cancel"}
    home = origin_of(addresses.queue)
    return replace(request, **{name: url for name, url in built.items() if not _leads_to(getattr(request, name), home)})


def _leads_to(url: str, home: object) -> bool:
    try:
        return origin_of(url) == home and bool(httpx.URL(url))
    except (UnsafeURL, httpx.InvalidURL):
        return False


async def follow(
    request: Submitted, client: Client, *, patience: float, lost: Callable[[], None]
) -> AsyncGenerator[Status]:
    """Each status, up to one that is complete: by the stream, and by asking where that breaks off.

    patience: seconds without any answer; lost: called while there is none. Raises RemoteError: also where fal does not
    know the request.
    """
    streams, pause = True, POLLS[0]
    while True:
        if streams:
            streams = False
            with suppress(httpx.TransportError):
                async with aclosing(_stream(request, client)) as statuses:
                    async for status in statuses:
                        yield status
                        streams = True
                        if status.complete:
                            return
        answer = await client.insist("GET", request.status_url, params={"logs": "1"}, patience=patience, waiting=lost)
        if answer is None:
            raise errors.lost()
        if answer.status in (404, 410):
            raise errors.gone()
        if not answer.ok:
            raise errors.still_held(errors.of_answer(answer.status, answer.headers, answer.body))
        status = _status(answer.json)
        if status is not None:
            yield status
            if status.complete:
                return
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLLS[1])


async def _stream(request: Submitted, client: Client) -> AsyncGenerator[Status]:
    """The statuses as fal tells them by itself, until it says nothing more. Raises httpx.TransportError."""
    headers = {"Accept": "text/event-stream"}
    async with client.stream(
        f"{request.status_url}/stream", silence=SILENCE, params={"logs": "1"}, headers=headers
    ) as response:
        if response.status_code != 200 or "text/event-stream" not in response.headers.get("content-type", ""):
            return
        rest = b""
        async for piece in response.aiter_raw():
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                return
            for line in lines:
                if line.startswith(b"data:") and (status := _status(values.parsed(line[5:]) or {})) is not None:
                    yield status


def _status(told: values.Object) -> Status | None:
    state, position = values.as_text(told.get("status")), values.as_number(told.get("queue_position"))
    if not state:
        return None
    lines = [values.as_text(each.get("message")) for each in values.objects_in(told.get("logs"))]
    return Status(
        state,
        position if position is not None and position >= 0 else None,
        tuple(line for line in lines if line),
        str(told.get("error_type") or ("internal_server_error" if told.get("error") else "")),
    )


async def result(
    request: Submitted, client: Client, *, patience: float, lost: Callable[[], None], failed: bool = False
) -> values.Object | None:
    """The request's result; None where it is not there yet. Raises RemoteError: also what the request failed of.

    failed: fal has said so already, and whatever it answers now is the reason.
    """
    same = itertools.count(1)

    def settled(answer: Answer) -> bool:
        told = "detail" in answer.json and answer.status != 429
        return failed or _is_verdict(answer) or (told and next(same) >= MOST_SAME)

    answer = await client.insist(
        "GET",
        request.response_url,
        patience=patience,
        settled=settled,
        waiting=lost,
        most=MOST_RESULT,
    )
    if answer is None:
        raise errors.lost()
    if answer.status == 202 or (answer.status == 400 and "in progress" in str(answer.json.get("detail"))):
        return None
    if answer.garbled:
        raise errors.not_fetched()
    if answer.ok:
        return answer.json
    if answer.status in (404, 410):
        raise errors.gone()
    error = errors.of_answer(answer.status, answer.headers, answer.body)
    if answer.status in (401, 403):
        raise errors.still_held(error)
    if answer.status in retries.PASSING and not failed and "detail" not in answer.json:
        raise errors.not_fetched()
    raise error


def _is_verdict(answer: Answer) -> bool:
    """Whether an answer that looks like a passing failure is what became of the request."""
    told = answer.json
    typed = isinstance(told.get("detail"), list) or "error_type" in told
    return answer.status != 429 and (typed or "x-fal-error-type" in answer.headers)


async def failure(
    request: Submitted, client: Client, error_type: str, *, patience: float, lost: Callable[[], None]
) -> RemoteError:
    """Why a request failed of which fal says that it did."""
    try:
        await result(request, client, patience=patience, lost=lost, failed=True)
    except RemoteError as error:
        return error
    return errors.failure(error_type)


async def cancel(request: Submitted, client: Client, *, patience: float, begun: bool, spare_begun: bool) -> Fate:
    """Ask fal to drop the request; what becomes of it, as far as can be told within `patience` seconds.

    begun: whether it was seen at work. spare_begun: ask only where it is not.
    """
    fate = Fate.UNKNOWN
    with suppress(TimeoutError, httpx.TransportError, UnflattenError):
        async with asyncio.timeout(patience):
            if spare_begun and (begun or await _state(request, client) != "IN_QUEUE"):
                return Fate.BEGUN
            answer = await client.insist("PUT", request.cancel_url, patience=patience, tells=False)
            if answer is None:
                return fate
            if answer.status == 404:
                return Fate.REMOVED
            if answer.json.get("status") == "ALREADY_COMPLETED":
                return Fate.DONE
            if answer.ok:  # which says only that it was heard
                fate = Fate.BEGUN if begun else Fate.ASKED
                found = await _state(request, client)
                fates = {"client_cancelled": Fate.REMOVED, "IN_PROGRESS": Fate.BEGUN, "COMPLETED": Fate.DONE}
                fate = fates.get(found, fate)
    return fate


async def _state(request: Submitted, client: Client) -> str:
    """Where the request stands now, or what it failed of."""
    status = _status((await client.call("GET", request.status_url)).json)
    return "" if status is None else status.error_type or status.state
