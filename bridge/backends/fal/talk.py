"""A task that waits on the network, and the generator that a backend is: the one runs while the other is asked on."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, TypeVar

from bridge.backends.base import Handle, Progress

LOOK = 0.1
"""Seconds between two looks at whether the user has cancelled."""
LAST_WORDS = 4.0
"""Seconds that a task gets to call off what it has begun."""

T = TypeVar("T")


class _Said(NamedTuple):
    event: Progress | Handle
    heard: asyncio.Event


class Talk:
    """What the task says."""

    def __init__(self) -> None:
        self._said: deque[_Said] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self.over = False
        """Nobody listens any more."""
        self._told = False

    def tell(self, event: Progress) -> None:
        self._say(_Said(event, asyncio.Event()))

    async def keep(self, text: str) -> None:
        """Hand a handle over; returns when it is written down."""
        if not self.over:
            said = _Said(Handle(text), asyncio.Event())
            self._say(said)
            await said.heard.wait()

    def _say(self, said: _Said) -> None:
        self._said.append(said)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def next(self, task: asyncio.Task[Any], cancelled: Callable[[], bool]) -> _Said | None:
        """What is said next; None when the task has ended. A task that the user has cancelled is told so, once."""
        while not self._said and not task.done():
            self._waiting = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._waiting, task}, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not self._told and cancelled():
                self._told = task.cancel()
        return self._said.popleft() if self._said else None


def converse(
    work: Callable[[Talk], Coroutine[Any, Any, T]], cancelled: Callable[[], bool]
) -> Generator[Progress | Handle, None, T]:
    """Run `work`, and yield what it says; its result is the generator's. It stands still while nobody asks for more."""
    loop = asyncio.new_event_loop()
    talk = Talk()
    try:
        task = loop.create_task(work(talk))
        try:
            while (said := loop.run_until_complete(talk.next(task, cancelled))) is not None:
                yield said.event
                said.heard.set()
            return task.result()
        finally:
            talk.over = True
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait({task}, timeout=LAST_WORDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
