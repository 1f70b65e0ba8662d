"""Who runs when: pictures that someone waits for before batches, and clients in turn."""

import itertools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A job in the queue. number: its place of arrival."""

    job: str
    client: Hashable
    batch: bool
    number: int


class Queue:
    """Jobs that wait. Within each kind, the client served longest ago comes next, with its oldest job.

    So one artist's thirty pictures do not keep another's single one waiting.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._served: dict[Hashable, int] = {}
        self._arrivals = itertools.count()
        self._turns = itertools.count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job: object) -> bool:
        return job in self._waiting

    def add(self, job: str, client: Hashable, *, batch: bool = False) -> None:
        self._waiting[job] = Waiting(job, client, batch, next(self._arrivals))

    def remove(self, job: str) -> bool:
        """Take a job out, wherever it stands; whether it was there."""
        return self._waiting.pop(job, None) is not None

    def take(self) -> str | None:
        """The next job, taken out of the queue; None where none waits."""
        chosen = _next(self._waiting.values(), self._served)
        if chosen is None:
            return None
        del self._waiting[chosen.job]
        self._served[chosen.client] = next(self._turns)
        if not self._waiting:
            self._served.clear()
        return chosen.job

    def order(self) -> list[str]:
        """The waiting jobs in the order in which they would be taken."""
        waiting = dict(self._waiting)
        served = dict(self._served)
        turn = itertools.count(max(served.values(), default=0) + 1)
        order: list[str] = []
        while (chosen := _next(waiting.values(), served)) is not None:
            del waiting[chosen.job]
            served[chosen.client] = next(turn)
            order.append(chosen.job)
        return order


def _next(waiting: Iterable[Waiting], served: dict[Hashable, int]) -> Waiting | None:
    return min(waiting, key=lambda each: (each.batch, served.get(each.client, 0), each.number), default=None)
