"""What is written down of a remote job, so that it can be taken up by its name after a crash."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from bridge.errors import UnflattenError


class UnreadableHandle(UnflattenError):
    code = "unknown_fate"

    def __init__(self) -> None:
        super().__init__(
            "What was written down of this job at fal cannot be read.",
            "Look at fal.ai › Dashboard › Requests. If the picture is not there, start again.",
        )


@dataclass(frozen=True)
class Intent:
    """The picture is about to be handed over. at: seconds since the epoch by fal's clock; image: the upload's URL."""

    at: float
    seed: int
    image: str


@dataclass(frozen=True)
class Ticket:
    """fal has taken it. called_off: it was asked to drop it again; done: it has said that the result is there."""

    request_id: str
    status_url: str
    response_url: str
    cancel_url: str
    seed: int
    called_off: bool = False
    done: bool = False


_STAGES: dict[str, type[Intent] | type[Ticket]] = {"submitting": Intent, "submitted": Ticket}


def to_text(handle: Intent | Ticket) -> str:
    stage = next(stage for stage, kind in _STAGES.items() if isinstance(handle, kind))
    return json.dumps({"stage": stage, **asdict(handle)})


def from_text(text: str) -> Intent | Ticket:
    """Raises UnreadableHandle."""
    try:
        told: dict[str, Any] = json.loads(text)
        return _STAGES[told.pop("stage")](**told)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UnreadableHandle from None


def ids_in(handles: tuple[str, ...]) -> frozenset[str]:
    """The request ids among other jobs' handles, whichever service's they are."""
    found: set[str] = set()
    for text in handles:
        try:
            handle = from_text(text)
        except UnreadableHandle:
            continue
        if isinstance(handle, Ticket):
            found.add(handle.request_id)
    return frozenset(found)
