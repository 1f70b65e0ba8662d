"""fal's own list of requests: what tells whether a request was taken whose answer never arrived.

Each request carries a seed, and each result names the seed it was made with: that is how ours is known from another
that was sent at the same moment, although fal is asked to keep nothing of what was sent.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.backends.base import RemoteError
from bridge.backends.fal import errors, queue, values
from bridge.backends.fal.account import ENDPOINT
from bridge.backends.fal.client import Client
from bridge.backends.fal.handle import Intent, Submitted

EARLIER, LATER = 5.0, 90.0
"""Seconds before and after the intent within which fal may have noted the request."""
PAUSES = (0.5, 10.0)
"""Seconds between two questions: at first, and at most."""
MOST_PAGES = 10


@dataclass(frozen=True)
class _Listed:
    request_id: str
    image: str
    failed: bool


async def find(
    intent: Intent, client: Client, *, known: frozenset[str], patience: float, asking: Callable[[], None]
) -> Submitted:
    """The request that `intent` became. Raises RemoteError (unknown_fate) where that cannot be told for certain.

    known: requests of other jobs. patience: seconds; fal may list a request only when it has ended. asking: called
    before each question.
    """
    until = time.monotonic() + patience
    pause = PAUSES[0]
    foreign: set[str] = set()
    while True:
        asking()
        listed = await _listed(intent, client)
        if listed is None:
            raise errors.unknown_fate()
        open_ones = [each for each in listed if each.request_id not in known | foreign]
        by_image = [each for each in open_ones if each.image and each.image == intent.image]
        if len(by_image) == 1:
            return _submitted(by_image[0], intent, client)
        ours: list[_Listed] = []
        for each in open_ones:
            seed = None if each.failed else await _seed(_submitted(each, intent, client), client)
            if seed == intent.seed:
                ours.append(each)
            elif seed is not None:
                foreign.add(each.request_id)
        if len(ours) == 1:
            return _submitted(ours[0], intent, client)
        if time.monotonic() + pause > until:
            left = [each for each in open_ones if each.request_id not in foreign]
            if len(left) == 1:
                return _submitted(left[0], intent, client)
            raise errors.unknown_fate()
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, PAUSES[1])


def _submitted(listed: _Listed, intent: Intent, client: Client) -> Submitted:
    return queue.located(Submitted(listed.request_id, "", "", "", intent.seed), client.addresses)


async def _seed(request: Submitted, client: Client) -> int | None:
    """The seed that a request's result names; None where there is no result, or none that says it."""
    try:
        found = await queue.result(request, client, patience=5, lost=lambda: None)
    except RemoteError:
        return None
    return values.as_number((found or {}).get("seed"))


async def _listed(intent: Intent, client: Client) -> list[_Listed] | None:
    """The endpoint's requests of that moment; None where fal does not let this key see them."""
    found: dict[str, _Listed] = {}
    # No end: whether it would be compared with the moment of sending or of ending is not said, and ours may still run.
    question: dict[str, str | int] = {
        "endpoint_id": ENDPOINT,
        "start": datetime.fromtimestamp(intent.at - EARLIER, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expand": "payloads",
        "limit": 100,
    }
    for _ in range(MOST_PAGES):
        answer = await client.insist(
            "GET", f"{client.addresses.platform}/models/requests/by-endpoint", params=question, patience=20
        )
        if answer is None or not answer.ok:
            return None
        for item in values.objects_in(answer.json.get("items")):
            if _is_of_that_moment(item, intent):
                found[str(item.get("request_id"))] = _read(item)
        cursor = values.as_text(answer.json.get("next_cursor"))
        if not answer.json.get("has_more") or not cursor:
            break
        question["cursor"] = cursor
    return list(found.values())


def _read(item: values.Object) -> _Listed:
    image = values.as_text(values.as_object(item.get("json_input")).get("image_url"))
    status = values.as_number(item.get("status_code"))
    return _Listed(str(item.get("request_id")), image, failed=status is not None and status >= 400)


def _is_of_that_moment(item: values.Object, intent: Intent) -> bool:
    try:
        sent = datetime.fromisoformat(str(item.get("sent_at")))
    except ValueError:
        return False
    after = (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).timestamp() - intent.at
    return -EARLIER <= after <= LATER
