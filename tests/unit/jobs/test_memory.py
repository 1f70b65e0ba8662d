"""What a job leaves behind goes; what libraries are made of is not looked through each time."""

import gc
import sys
import weakref
from collections.abc import Iterator
from types import ModuleType

import pytest

from bridge.jobs.memory import Cycles


class Ring:
    """Holds itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def automatic() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def left_behind() -> weakref.ref[Ring]:
    return weakref.ref(Ring())


def test_a_jobs_cycles_are_freed_each_time() -> None:
    cycles = Cycles()
    for _ in range(3):
        ring = left_behind()
        cycles.free()
        assert ring() is None


def test_what_was_there_before_is_set_aside_and_again_where_modules_were_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cycles = Cycles()
    cycles.free()
    first = gc.get_freeze_count()
    assert first > 1000
    kept = [Ring() for _ in range(1000)]
    cycles.free()
    assert gc.get_freeze_count() == first
    monkeypatch.setitem(sys.modules, "a_library_of_this_test", ModuleType("a_library_of_this_test"))
    cycles.free()
    assert gc.get_freeze_count() >= first + len(kept)


def test_what_was_set_aside_is_freed_once_that_is_asked_for() -> None:
    cycles, ring = Cycles(), Ring()
    cycles.free()
    gone = weakref.ref(ring)
    del ring
    cycles.free()
    assert gone() is not None
    gc.unfreeze()
    cycles.free()
    assert gone() is None and gc.get_freeze_count() > 1000
