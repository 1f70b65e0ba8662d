"""Ctrl+C as a wish to end tidily: the first asks, the second breaks off."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")


class Interrupt:
    """Whether the user wants a command to end. stop: called at the first wish; None while nothing is under way yet that
    had to be ended tidily."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.asked = False
        self.stop: Callable[[], None] | None = None
        self._task = task

    def ask(self) -> None:
        """The user has asked, once or once more."""
        if self.asked or self.stop is None:
            self._task.cancel()
        else:
            self.stop()
        self.asked = True


def run(work: Callable[[Interrupt], Coroutine[Any, Any, Result]]) -> Result:
    """What `work` returns. Ctrl+C or a polite kill asks it to end.

    Raises KeyboardInterrupt where it was broken off.
    """

    async def listen() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        interrupt = Interrupt(task)

        def hear(number: int, _: FrameType | None) -> None:
            loop.call_soon_threadsafe(interrupt.ask)

        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return await work(interrupt)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    try:
        return asyncio.run(listen())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
