"""fal's own list of requests: what tells whether an order was taken whose answer never arrived.

Each order carries a seed, and each result names the seed it was made with: that is how ours is known from another that
was sent at the same moment, although fal is asked to keep nothing of what was sent.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.backends.fal import queue, troubles
from bridge.backends.fal.account import ENDPOINT
from bridge.backends.fal.handle import Intent, Ticket
from bridge.backends.fal.wire import Wire

EARLIER, LATER = 5.0, 90.0
"""Seconds before and after the intent within which fal may have noted the order."""
PAUSES = (0.5, 10.0)
MOST_PAGES = 10


@dataclass(frozen=True)
class _Listed:
    request_id: str
    image: str
    failed: bool


async def find(
    intent: Intent, wire: Wire, *, known: frozenset[str], patience: float, asking: Callable[[], None]
) -> Ticket:
    """The request that `intent` became. Raises Trouble (unknown_fate) where that cannot be told for certain.

    known: requests of other jobs. patience: seconds; fal may list a request only when it has ended. asking: called
    before each question.
    """
    until = time.monotonic() + patience
    pause = PAUSES[0]
    foreign: set[str] = set()
    while True:
        asking()
        listed = await _listed(intent, wire)
        if listed is None:
            raise troubles.unknown_fate()
        open_ones = [each for each in listed if each.request_id not in known | foreign]
        by_image = [each for each in open_ones if each.image and each.image == intent.image]
        if len(by_image) == 1:
            return _ticket(by_image[0], intent, wire)
        ours: list[_Listed] = []
        for each in open_ones:
            seed = None if each.failed else await _seed(_ticket(each, intent, wire), wire)
            if seed == intent.seed:
                ours.append(each)
            elif seed is not None:
                foreign.add(each.request_id)
        if len(ours) == 1:
            return _ticket(ours[0], intent, wire)
        if time.monotonic() + pause > until:
            left = [each for each in open_ones if each.request_id not in foreign]
            if len(left) == 1:
                return _ticket(left[0], intent, wire)
            raise troubles.unknown_fate()
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, PAUSES[1])


def _ticket(listed: _Listed, intent: Intent, wire: Wire) -> Ticket:
    return queue.located(Ticket(listed.request_id, "", "", "", intent.seed), wire.places)


async def _seed(ticket: Ticket, wire: Wire) -> int | None:
    """The seed that a request's result names; None where there is no result, or none that says it."""
    try:
        found = await queue.result(ticket, wire, patience=5, lost=lambda: None)
    except troubles.Trouble:
        return None
    seed = (found or {}).get("seed")
    return seed if isinstance(seed, int) else None


async def _listed(intent: Intent, wire: Wire) -> list[_Listed] | None:
    """The endpoint's requests of that moment; None where fal does not let this key see them."""
    found: dict[str, _Listed] = {}
    # No end: whether it would be compared with the moment of sending or of ending is not said, and ours may still run.
    question: dict[str, Any] = {
        "endpoint_id": ENDPOINT,
        "start": datetime.fromtimestamp(intent.at - EARLIER, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expand": "payloads",
        "limit": 100,
    }
    for _ in range(MOST_PAGES):
        answer = await wire.insist(
            "GET", f"{wire.places.platform}/models/requests/by-endpoint", params=question, patience=20
        )
        if answer is None or not answer.ok:
            return None
        told = answer.json()
        items = told.get("items")
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict) and _is_of_that_moment(item, intent):
                found[str(item.get("request_id"))] = _read(item)
        if not told.get("has_more") or not told.get("next_cursor"):
            break
        question["cursor"] = told["next_cursor"]
    return list(found.values())


def _read(item: dict[str, Any]) -> _Listed:
    sent, status = item.get("json_input"), item.get("status_code")
    image = sent.get("image_url") if isinstance(sent, dict) else None
    failed = isinstance(status, int) and status >= 400
    return _Listed(str(item.get("request_id")), image if isinstance(image, str) else "", failed)


def _is_of_that_moment(item: dict[str, Any], intent: Intent) -> bool:
    try:
        sent = datetime.fromisoformat(str(item.get("sent_at")))
    except ValueError:
        return False
    after = (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).timestamp() - intent.at
    return -EARLIER <= after <= LATER
