"""HTTP to fal: one call, or one that is made again while what keeps it from succeeding may pass."""

import asyncio
import contextlib
import email.utils
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from bridge import __version__
from bridge.backends.fal import retries
from bridge.backends.fal.account import Account
from bridge.downloads import CONNECT_PATIENCE, careful_client, read, trusted

ANSWER_PATIENCE = 30.0
"""Seconds without a byte of an answer."""
MOST_ANSWER = 4 * 2**20
MOST_GARBLED = 5
"""Times that an answer may come without the JSON that it should hold, as on a line that cuts it short."""
DATES_TELL = 2.0
"""Seconds: an answer's date is written in whole ones, and some servers write the same for a while."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The JSON object in it; an empty one where there is none."""
        return self._object() or {}

    @property
    def garbled(self) -> bool:
        """Whether it says that all went well, and then not what."""
        return self.ok and self._object() is None

    def _object(self) -> dict[str, Any] | None:
        try:
            told = json.loads(self.body)
        except ValueError:
            return None
        return told if isinstance(told, dict) else None


class Wire:
    """The connections of one job. `careful` is for URLs that fal names; the others carry the key, to fal alone."""

    def __init__(self, account: Account) -> None:
        self.places = account.places
        self.careful = careful_client(account.places.exempt)
        self.ahead = 0.0
        """Seconds that fal's clock is ahead of ours, where they differ by more than such a date can tell."""
        self._client = _client(account)
        # The order goes over a connection of its own: one that was used before may be closed already at the other end,
        # and then nobody could tell whether the order had arrived.
        self._queue = _client(account)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in (self._client, self._queue, self.careful):
            await client.aclose()

    async def call(
        self,
        method: str,
        url: str,
        *,
        most: int = MOST_ANSWER,
        careful: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
        **options: Any,
    ) -> Answer:
        """One call. careful: without the key, to a URL that fal named. before: awaited when the connection is there,
        and before a byte of the request goes over it.

        Raises httpx.TransportError, UnsafeURL, and TooLarge for an answer of more than `most` bytes.
        """
        client = self.careful if careful else self._with_key(url)
        if before is not None:
            options["extensions"] = {"trace": _before_first_byte(before)}
        async with client.stream(method, url, follow_redirects=False, **options) as response:
            if not careful:
                self._set_clock(response.headers.get("date", ""))
            return Answer(response.status_code, response.headers, await read(response, most))

    def stream(self, url: str, *, silence: float, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        """An answer that comes in pieces. silence: seconds without a byte after which it is given up."""
        timeout = httpx.Timeout(silence, connect=CONNECT_PATIENCE)
        return self._with_key(url).stream("GET", url, timeout=timeout, **options)

    async def insist(
        self,
        method: str,
        url: str,
        *,
        patience: float,
        tells: bool = True,
        settled: Callable[[Answer], bool] = lambda answer: False,
        waiting: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> Answer | None:
        """A call that does no harm when it is made twice, until it succeeds or cannot; None where nobody answered.

        patience: seconds. tells: the answer must hold something. settled: whether an answer that looks like a passing
        failure is final. waiting: called before each pause.
        """
        until = time.monotonic() + patience
        garbled = 0
        for attempt in itertools.count(1):
            answer = None
            with contextlib.suppress(httpx.TransportError):
                answer = await self.call(method, url, **options)
            if answer is not None and (answer.status not in retries.PASSING or settled(answer)):
                garbled += tells and answer.garbled
                if not (tells and answer.garbled) or garbled >= MOST_GARBLED:
                    return answer
            pause = retries.delay(attempt, answer.headers.get("retry-after") if answer else None)
            if time.monotonic() + pause > until:
                return answer
            waiting()
            await asyncio.sleep(pause)
        raise AssertionError

    def _set_clock(self, date: str) -> None:
        try:
            ahead = email.utils.parsedate_to_datetime(date).timestamp() - time.time()
        except ValueError:
            return
        self.ahead = ahead if abs(ahead) > DATES_TELL else 0.0

    def _with_key(self, url: str) -> httpx.AsyncClient:
        return self._queue if url.startswith(f"{self.places.queue}/") else self._client


def _before_first_byte(act: Callable[[], Awaitable[None]]) -> Callable[[str, dict[str, Any]], Awaitable[None]]:
    """What httpx awaits at each step of a request, as its `trace` extension."""

    async def hear(step: str, told: dict[str, Any]) -> None:
        if step == "http11.send_request_headers.started":
            await act()

    return hear


def _client(account: Account) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "Authorization": f"Key {account.key}",
            "User-Agent": f"unflatten/{__version__}",
            "Accept-Encoding": "identity",
        },
        timeout=httpx.Timeout(ANSWER_PATIENCE, connect=CONNECT_PATIENCE),
        follow_redirects=False,  # a redirect would take the key along
        trust_env=not account.places.is_here,
        verify=trusted(),
    )
