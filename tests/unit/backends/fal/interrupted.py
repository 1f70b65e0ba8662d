"""Jobs that an earlier run of the bridge left, and that are taken up by what it wrote down."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.backends.fal.driving import Drafted, Event, Kept, draft


class Killed(Exception):
    pass


def cut_off(when: Callable[[Event], bool], **options: Any) -> str:
    """Run a job until `when` says that this process dies, right after the event is written down; its last handle."""
    kept = [""]

    def watch(event: Event) -> None:
        if isinstance(event, Kept):
            kept.append(event.text)
        if when(event):
            raise Killed

    with pytest.raises(Killed):
        draft(watch=watch, **options)
    return kept[-1]


def is_stage(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Kept) and event.told.get("stage") == name


def taken_up(handle: str, **options: Any) -> Drafted:
    return draft(seed=1, handle=handle, **options)
