"""Who is connected to one port: how many at most, and how long those may stay who have not shown a key.

Whoever has none is let go first when it gets full, so that nobody can take all the places by saying half a sentence.
"""

import asyncio
import sys
from collections.abc import Callable

FIRST_WORDS = 10.0
"""Seconds that a client gets for what comes before its key is looked at: a handshake, and a request's head."""
MOST_CONNECTIONS = 256
"""Connections to a port at a time."""
SHARE_OF_FILES = 4
"""And at most one in so many of the files that this process may open: the rest is for jobs, workers and the store."""

LOOK_EVERY = 0.05
"""Seconds between two looks for a free place, while clients with a key hold all."""

VISIT = "visit"
"""A connection's Visit in its requests' state."""


class Visit:
    """One connection, from its first byte to its last. drop: ends it at once, whatever it is at."""

    def __init__(self, drop: Callable[[], object], left: Callable[["Visit"], None]) -> None:
        self.drop = drop
        self.admitted = False
        """Whether its request has shown a key, and is not answered to the end yet."""
        self._left = left
        self._clock: asyncio.TimerHandle | None = None

    def expect(self) -> None:
        """It has begun to say something: from now on it has FIRST_WORDS seconds to be admitted."""
        if self._clock is None and not self.admitted:
            self._clock = asyncio.get_running_loop().call_later(FIRST_WORDS, self._lose_patience)

    def admit(self) -> None:
        """It has shown a key that fits."""
        self.admitted = True
        self._stop()

    def answered(self) -> None:
        """Its request is answered; the next has to show a key again."""
        self.admitted = False
        self._stop()

    def end(self) -> None:
        """It is gone."""
        self._stop()
        self._left(self)

    def _lose_patience(self) -> None:
        self._clock = None
        self.drop()

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class Visitors:
    """All of one port's."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or most_connections()
        self._visits: dict[Visit, None] = {}

    def __len__(self) -> int:
        return len(self._visits)

    async def room(self) -> None:
        """Return once one of all places is free, or held by someone without a key."""
        while len(self._visits) >= self._most and all(each.admitted for each in self._visits):
            await asyncio.sleep(LOOK_EVERY)

    def welcome(self, drop: Callable[[], object]) -> Visit:
        """A connection is there, and has FIRST_WORDS seconds. Where it is one too many, the oldest of those without a
        key is dropped; of those that have shown one none is, and so it may be this one."""
        visit = Visit(drop, self._leave)
        self._visits[visit] = None
        visit.expect()
        if len(self._visits) > self._most:
            oldest = next(each for each in self._visits if not each.admitted)
            self._leave(oldest)
            oldest.drop()
        return visit

    def _leave(self, visit: Visit) -> None:
        self._visits.pop(visit, None)


def most_connections() -> int:
    """How many connections a port may have here."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        MOST_CONNECTIONS if files == resource.RLIM_INFINITY else max(8, min(MOST_CONNECTIONS, files // SHARE_OF_FILES))
    )
