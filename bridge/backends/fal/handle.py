"""What is written down of a job at fal, so that it can be taken up after a crash."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bridge.backends.fal import errors


@dataclass(frozen=True)
class Intent:
    """The picture is about to be submitted. at: seconds since the epoch by fal's clock; image: the upload's URL."""

    at: float
    seed: int
    image: str


@dataclass(frozen=True)
class Submitted:
    """fal has taken it. called_off: it was asked to drop it again; done: it has said that the result is there."""

    request_id: str
    status_url: str
    response_url: str
    cancel_url: str
    seed: int
    called_off: bool = False
    done: bool = False


Handle = Intent | Submitted
_STAGES: dict[str, type[Intent] | type[Submitted]] = {"submitting": Intent, "submitted": Submitted}


def to_text(handle: Handle) -> str:
    """The handle as it is written down."""
    stage = next(stage for stage, kind in _STAGES.items() if isinstance(handle, kind))
    return json.dumps({"stage": stage, **asdict(handle)})


def from_text(text: str) -> Handle:
    """The handle that was written down. Raises RemoteError where it cannot be read."""
    try:
        told: dict[str, Any] = json.loads(text)
        return _STAGES[told.pop("stage")](**told)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise errors.unreadable_handle() from None


def ids_in(handles: Iterable[str]) -> frozenset[str]:
    """The request ids among other jobs' handles, whichever service's they are."""
    found: set[str] = set()
    for text in handles:
        try:
            handle = from_text(text)
        except errors.RemoteError:
            continue
        if isinstance(handle, Submitted):
            found.add(handle.request_id)
    return frozenset(found)
