"""What a cancelled job asks of fal, and what becomes of it: within the job's patience, and nothing paid for is lost."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from bridge.backends import preferences
from bridge.backends.base import Fate, RemoteJob
from bridge.backends.choice import choose
from bridge.backends.fal.handle import Intent, to_text
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, draft, drive, picture
from tests.unit.backends.fal.interrupted import cut_off, is_stage, taken_up
from tests.unit.backends.fal.service import Fal, Reply


def at_work(fal: Fal) -> Callable[[], bool]:
    return lambda: any(order.state == "IN_PROGRESS" for order in fal.orders.values())


def test_a_request_that_waits_is_removed_and_not_paid(fal: Fal) -> None:
    fal.concurrency = 0
    drafted = draft(cancel_when=lambda: fal.count("stream") > 0)
    [order] = fal.orders.values()
    assert drafted.fate == Fate.REMOVED and order.called_off
    assert drafted.handles[-1]["called_off"] is True


def test_a_request_at_work_is_asked_to_stop_and_may_go_on(fal: Fal) -> None:
    fal.seconds = 30
    began = time.monotonic()
    drafted = draft(cancel_when=at_work(fal))
    assert drafted.fate == Fate.BEGUN and time.monotonic() - began < 10
    assert fal.count("cancel") == 1 and drafted.handles[-1]["called_off"] is True


def test_a_request_that_is_done_is_not_asked_to_stop(fal: Fal) -> None:
    fal.script["result"] = [Reply(502, b"<html>")] * 500
    drafted = draft(cancel_when=lambda: fal.count("result") > 0)
    assert drafted.fate == Fate.DONE and fal.count("cancel") == 0
    fal.script["result"] = []
    assert len(taken_up(json.dumps(drafted.handles[-1])).layers) == 3 and len(fal.orders) == 1


def test_a_request_that_was_done_meanwhile_is_said_to_be_done(fal: Fal) -> None:
    handle = cut_off(is_stage("submitted"))
    while next(iter(fal.orders.values())).state != "COMPLETED":
        time.sleep(0.01)
    assert cancelled(handle) == (Fate.DONE, {**json.loads(handle), "called_off": True})


def test_a_batch_that_ends_leaves_at_work_what_is_paid_for(fal: Fal) -> None:
    fal.seconds = 1.5
    drafted = draft(cancel_when=at_work(fal), spare_begun=True)
    assert drafted.fate == Fate.BEGUN and fal.count("cancel") == 0
    assert len(taken_up(json.dumps(drafted.handles[-1])).layers) == 3 and len(fal.orders) == 1


def test_a_batch_that_ends_removes_what_has_not_begun(fal: Fal) -> None:
    fal.concurrency = 0
    drafted = draft(cancel_when=lambda: fal.count("stream") > 0, spare_begun=True)
    assert drafted.fate == Fate.REMOVED and fal.count("cancel") == 1


def test_before_anything_is_handed_over_cancelling_costs_nothing(fal: Fal) -> None:
    fal.script["initiate"] = [Reply(503, b"")] * 50
    drafted = draft(cancel_when=lambda: fal.count("initiate") > 0)
    assert drafted.fate == Fate.NOT_SENT and drafted.handles == [] and fal.orders == {}


def test_what_may_have_been_taken_is_of_unknown_fate(fal: Fal) -> None:
    for handle in (to_text(Intent(time.time(), 77, "")), "remote-7"):
        assert cancelled(handle) == (Fate.UNKNOWN, None)
    assert fal.calls == []


def test_fals_patience_is_the_jobs(fal: Fal) -> None:
    """It answers nothing: after the job's patience that is what became of it."""
    handle = cut_off(is_stage("submitted"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        preferences.change("fal-queue-url", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        fate, last = cancelled(handle, patience=0.5)
    assert fate == Fate.UNKNOWN and 0.4 <= time.monotonic() - began < 6
    assert last is not None and last["called_off"] and last["request_id"] in fal.orders


def cancelled(handle: str, patience: float = 3.0) -> tuple[Fate, dict[str, Any] | None]:
    """What becomes of an earlier run's job when it is cancelled before anything else, and the handle then kept."""

    async def cancel() -> tuple[Fate, dict[str, Any] | None]:
        kept: list[str] = []

        async def keep(text: str) -> None:
            kept.append(text)

        chosen = choose("fal")
        assert chosen.remote is not None
        model = chosen.remote.connect(chosen.options)
        fate = await model.cancel(handle, RemoteJob(77, lambda progress: None, keep, patience=patience))
        await model.close()
        return fate, json.loads(kept[-1]) if kept else None

    return asyncio.run(cancel())


def test_while_fals_queue_is_being_connected_to_nothing_is_written_down(fal: Fal) -> None:
    """Whoever is killed there need not ask whether fal took it: a name looked up and a handshake take longest."""

    async def go() -> Drafted:
        connected = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read(1) == b"\x16", "a handshake has begun"
            connected.set()
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        preferences.change("fal-queue-url", f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}")
        async with silent:
            return await drive(cancel_when=connected.is_set)

    drafted = asyncio.run(go())
    assert drafted.handles == [], "nothing to be looked up"
    assert drafted.fate == Fate.NOT_SENT and fal.orders == {}, "and nothing that might cost"


@pytest.fixture
def slowly(fal: Fal, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes fal answer a request only so many seconds after it has taken it."""
    submit = fal.submit

    def set_to(seconds: float) -> None:
        async def slow(request: Any) -> Any:
            answer = await submit(request)
            await asyncio.sleep(seconds)
            return answer

        monkeypatch.setattr(fal, "submit", slow)

    return set_to


def test_a_request_on_its_way_is_seen_through_so_that_it_can_be_called_off(
    fal: Fal, slowly: Callable[[float], None]
) -> None:
    fal.seconds = 30
    slowly(0.5)
    drafted = draft(cancel_when=lambda: bool(fal.orders))
    [order] = fal.orders.values()
    assert drafted.fate == Fate.BEGUN and order.called_off
    assert drafted.handles[-1]["request_id"] == order.id
    assert drafted.patience_left < 3, "the wait was on the same budget"


def test_a_request_on_its_way_is_waited_for_up_to_half_the_patience(fal: Fal, slowly: Callable[[float], None]) -> None:
    slowly(60)
    began = time.monotonic()
    drafted = draft(cancel_when=lambda: bool(fal.orders))
    assert drafted.fate == Fate.UNKNOWN and time.monotonic() - began < 10
    assert drafted.handles[-1]["stage"] == "submitting", "it is looked up the next time"
    assert 1 <= drafted.patience_left <= 1.5


def test_a_refusal_that_comes_after_the_cancel_leaves_nothing_to_be_looked_up(
    fal: Fal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    async def refuse(request: Any) -> Any:
        asked.set()
        await asyncio.sleep(0.5)
        return Reply(422, {"detail": []}).response()

    monkeypatch.setattr(fal, "submit", refuse)
    drafted = draft(cancel_when=asked.is_set)
    assert drafted.fate == Fate.NOT_SENT and drafted.handles[-1] == {}


def test_a_cancel_while_the_intent_is_written_down_sends_nothing(fal: Fal) -> None:
    """A slow disk: the user cancels before it says that the intent is there."""

    async def go() -> tuple[list[str], Fate]:
        kept: list[str] = []
        writing = asyncio.Event()

        async def keep(text: str) -> None:
            writing.set()
            await asyncio.sleep(0.1)
            kept.append(text)

        chosen = choose("fal")
        assert chosen.remote is not None
        model = chosen.remote.connect(chosen.options)
        job = RemoteJob(77, lambda progress: None, keep)
        packed = chosen.remote.pack(picture(), Settings())
        sending = asyncio.ensure_future(model.submit(packed, Settings(), job))
        await writing.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        fate = await model.cancel(kept[-1], job)
        await model.close()
        return kept, fate

    kept, fate = asyncio.run(go())
    assert [bool(text) for text in kept] == [True, False] and fate == Fate.NOT_SENT
    assert fal.count("submit") == 0 and fal.orders == {}


def test_cancelled_too_late_its_result_serves_the_next_time(fal: Fal) -> None:
    fal.seconds = 0.8
    first = draft(cancel_when=at_work(fal))
    second = taken_up(json.dumps(first.handles[-1]))
    assert len(second.layers) == 3 and len(fal.orders) == 1


def test_cancelled_in_time_it_is_sent_anew_the_next_time(fal: Fal) -> None:
    fal.concurrency = 0
    first = draft(cancel_when=lambda: fal.count("stream") > 0)
    fal.concurrency = 10
    second = taken_up(json.dumps(first.handles[-1]))
    assert len(second.layers) == 3 and len(fal.orders) == 2
    assert [order.called_off for order in fal.orders.values()] == [True, False]


def test_a_job_that_is_only_left_lets_fal_go_on(fal: Fal) -> None:
    """The process ends in order: whoever starts next takes it up."""
    handle = cut_off(is_stage("submitted"))
    assert fal.count("cancel") == 0 and len(taken_up(handle).layers) == 3 and len(fal.orders) == 1
