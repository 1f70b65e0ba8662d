"""HTTP to fal: one call, or one that is made again while what keeps it from succeeding may pass."""

import asyncio
import contextlib
import email.utils
import functools
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from bridge import __version__
from bridge.backends.fal import retries, values
from bridge.backends.fal.account import Account
from bridge.downloads import CONNECT_PATIENCE, careful_client, read, trusted
from bridge.urls import unreadable

ANSWER_PATIENCE = 30.0
"""Seconds without a byte of an answer."""
MOST_ANSWER = 4 * 2**20
MOST_GARBLED = 5
"""Times that an answer may come without the JSON that it should hold, as on a line that cuts it short."""
DATES_TELL = 2.0
"""Seconds: an answer's date is written in whole ones, and some servers write the same for a while."""
KEPT_CONNECTIONS = 100
"""Idle ones. httpcore closes an idle connection where there are more than so many in all, those in use included."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @functools.cached_property
    def parsed(self) -> values.Object | None:
        """The JSON object in it; None where there is none. Read once: with sync_mode it holds all layers."""
        return values.parsed(self.body)

    @property
    def json(self) -> values.Object:
        """The JSON object in it; an empty one where there is none."""
        return self.parsed or {}

    @property
    def garbled(self) -> bool:
        """Whether it says that all went well, and then not what."""
        return self.ok and self.parsed is None


class Client:
    """The connections of one account, which all its jobs share.

    careful: for URLs that fal names, without the key. ahead: seconds that fal's clock is ahead of ours, where they
    differ by more than a date in whole seconds can tell.
    """

    def __init__(self, account: Account) -> None:
        self.addresses = account.addresses
        self.careful = careful_client(account.addresses.exempt)
        self.ahead = 0.0
        self._keyed = _keyed(account, httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS))
        # A request is submitted over a connection of its own: one that was used before may be closed already at the
        # other end, and then nobody could tell whether the request had arrived.
        self._unused = _keyed(account, httpx.Limits(max_connections=None, max_keepalive_connections=0))

    async def close(self) -> None:
        """Close the connections."""
        for client in (self._keyed, self._unused, self.careful):
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
        """One call. careful: without the key, to a URL that fal named. before: the call goes over a fresh connection,
        and this is awaited when that is there, and before a byte of the request goes over it.

        Raises httpx.TransportError, UnsafeURL, and TooLarge for an answer of more than `most` bytes.
        """
        client = self.careful if careful else self._keyed
        if before is not None:
            client = self._unused
            options["extensions"] = {"trace": _before_first_byte(before)}
        try:
            async with client.stream(method, url, follow_redirects=False, **options) as response:
                if not careful:
                    self._set_clock(response.headers.get("date", ""))
                return Answer(response.status_code, response.headers, await read(response, most))
        except (httpx.InvalidURL, UnicodeError):  # such as a name that no rule of other scripts' names allows
            raise unreadable() from None

    def stream(self, url: str, *, silence: float, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        """An answer that comes in pieces. silence: seconds without a byte after which it is given up."""
        timeout = httpx.Timeout(silence, connect=CONNECT_PATIENCE, pool=None)
        return self._keyed.stream("GET", url, timeout=timeout, **options)

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
        failure is final. waiting: called before each pause. Raises UnsafeURL and TooLarge.
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


def _before_first_byte(act: Callable[[], Awaitable[None]]) -> Callable[[str, dict[str, Any]], Awaitable[None]]:
    """What httpx awaits at each step of a request, as its `trace` extension."""

    async def hear(step: str, told: dict[str, Any]) -> None:
        if step == "http11.send_request_headers.started" and told["request"].method != b"CONNECT":  # to a proxy
            await act()

    return hear


def _keyed(account: Account, limits: httpx.Limits) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "Authorization": f"Key {account.key}",
            "User-Agent": f"unflatten/{__version__}",
            "Accept-Encoding": "identity",
        },
        timeout=httpx.Timeout(ANSWER_PATIENCE, connect=CONNECT_PATIENCE, pool=None),
        limits=limits,
        follow_redirects=False,  # a redirect would take the key along
        trust_env=not account.addresses.is_here,
        verify=trusted(),
    )
