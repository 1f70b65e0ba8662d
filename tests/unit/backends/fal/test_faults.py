"""On a bad line each job ends, done or in a clear error, within its clock; and nothing is ordered twice."""

import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import Response

from bridge.backends import preferences
from bridge.backends.base import Fate
from bridge.backends.fal import client, images, queue
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, composite, draft, picture
from tests.unit.backends.fal.injector import CALLS, KINDS, Call, Chosen, Injector, Kind
from tests.unit.backends.fal.service import Fal, Service

WALL_CLOCK = 6.0
CANCELLING = 3.0
"""Seconds that a job gets to be cancelled in, when its clock has run out."""
CLEAR = {"connection", "unknown_fate", "fal_busy", "fal_failed", "gone", "bad_result", "bad_picture"}


@pytest.fixture
def line(service: Service, hurried: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Injector]:
    """A bad line to the service, and a client that waits a tenth as long for a byte as a user's."""
    monkeypatch.setattr(client, "ANSWER_PATIENCE", 1.0)
    monkeypatch.setattr(queue, "SILENCE", 1.0)
    monkeypatch.setattr("bridge.downloads.STALL_PATIENCE", 1.0)
    monkeypatch.setattr(images, "SECONDS", 4.0)
    preferences.change("fal-wall-clock", str(WALL_CLOCK))
    service.fal.seconds = 0.2
    with Injector(service.port) as injector:
        monkeypatch.setenv("UNFLATTEN_FAL_URL", injector.url)
        yield injector


def run(line: Injector, fal: Fal, seed: int = 77) -> Drafted:
    """A job on the line; it must end within its clock, clearly, and be ordered once at most."""
    began = time.monotonic()
    drafted = draft(picture(seed=seed), Settings(num_layers=3), seed=seed)
    took = time.monotonic() - began
    assert took < WALL_CLOCK + CANCELLING, f"{took:.1f} s"
    taken = [order.id for order in fal.orders.values() if order.input["seed"] == seed]
    assert len(taken) <= 1, "it was paid for twice"
    if drafted.overtime:
        assert drafted.fate is not None and (drafted.fate != Fate.NOT_SENT) == bool(
            drafted.handles and drafted.handles[-1]
        )
        if taken:
            assert drafted.handles[-1].get("request_id") == taken[0], "what is paid for must be there to be taken up"
    elif drafted.error is None:
        assert len(drafted.layers) == 3 and np.array_equal(composite(drafted.layers), picture(seed=seed).view[..., :3])
        assert len(taken) == 1
    else:
        error = drafted.failure
        assert error.code in CLEAR and error.message.endswith(".") and error.hint.endswith("."), vars(error)
        last = drafted.handles[-1] if drafted.handles else {}
        if taken and error.code == "connection":
            assert last.get("request_id") == taken[0], "what is paid for must be there to be taken up"
    return drafted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_that_passes_is_got_over(line: Injector, fal: Fal, call: Call, kind: Kind) -> None:
    line.choose = Chosen(call, kind)
    drafted = run(line, fal)
    assert [fault.call for fault in line.met] == [call], "the fault did not happen"
    assert not drafted.overtime
    if drafted.error is not None:
        # what only the user can decide: fal may have taken it, and has not
        assert call == "submit" and drafted.error.code == "unknown_fate" and not fal.orders, vars(drafted.error)


def test_a_place_that_takes_a_picture_once_is_not_asked_to_take_it_again(line: Injector, fal: Fal) -> None:
    """The first answer is lost, the second says that nothing more is taken there: another place is asked for."""
    line.choose = Chosen("put", "reset after")
    taken: list[str] = []
    put = fal.put

    async def once(request: Request) -> Response:
        name = request.path_params["name"]
        taken.append(name)
        return await put(request) if taken.count(name) == 1 else Response(status_code=404)

    fal.put = once  # type: ignore[method-assign]
    drafted = run(line, fal)
    assert drafted.error is None and not drafted.overtime
    assert len(taken) == 3 and len(set(taken)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_stays_ends_in_a_clear_error(line: Injector, fal: Fal, kind: Kind) -> None:
    line.choose = Chosen("media", kind, times=10_000)
    drafted = run(line, fal)
    if kind in ("drip", "length too long"):  # slow, but whole; or whole, and only said to be more
        return
    assert drafted.error is not None or drafted.overtime


def test_the_queue_without_a_stream_on_a_bad_line(line: Injector, fal: Fal) -> None:
    kinds = iter([*KINDS] * 2)
    line.choose = lambda call: {"stream": "502", "status": next(kinds, None)}.get(call)  # type: ignore[return-value]
    run(line, fal)
    assert sum(fault.call == "status" for fault in line.met) >= 3


def test_storms(line: Injector, fal: Fal) -> None:
    """Each call may meet any fault: whatever comes of the jobs, each ends clearly, and none is ordered twice."""
    dice = random.Random(11)

    def any_fault(call: Call) -> Kind | None:
        return dice.choice(KINDS) if dice.random() < 0.15 else None

    line.choose = any_fault
    ended = [run(line, fal, seed=seed) for seed in range(1, 13)]
    assert sum(bool(each.layers) for each in ended) >= 6, [each.error and each.error.code for each in ended]
    assert len(line.met) > 12
