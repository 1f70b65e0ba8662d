"""When a call is made once more, and after how long."""

import random

import httpx

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a moment later."""
FIRST, LONGEST = 0.5, 8.0
MOST_ASKED = 60.0
"""Seconds: a server that asks for a longer pause is asked again all the same."""


def delay(attempt: int, asked: str | None = None) -> float:
    """Seconds before try number `attempt` + 1. asked: a Retry-After header; without one it doubles, with jitter, so
    that clients that failed together do not come back together."""
    try:
        return min(max(float(asked or ""), 0.1), MOST_ASKED)
    except ValueError:
        return min(FIRST * 2 ** (attempt - 1), LONGEST) * random.uniform(0.5, 1.5)


def was_not_sent(error: httpx.TransportError) -> bool:
    """Whether no byte of the request can have arrived: no connection was ever there."""
    return isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol))
