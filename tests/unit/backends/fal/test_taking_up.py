"""What was begun is taken up by its name: never handed over twice, never lost while fal has it."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bridge.backends import preferences
from bridge.backends.base import Fate, RemoteJob
from bridge.backends.choice import choose
from bridge.backends.fal.handle import Intent, Submitted, from_text, ids_in, to_text
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, Event, Kept, composite, draft, drive, picture
from tests.unit.backends.fal.service import Fal, Order, Reply, Service


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


@pytest.fixture(autouse=True)
def short_search(service: Service) -> None:
    """Half the wall clock is the time that a lost order is looked for."""
    preferences.change("fal-wall-clock", "6")


def ordered(fal: Fal, seed: int, *, ago: float = 0.0, image: str = "", failed: bool = False) -> Order:
    """A request that was sent from elsewhere, and has ended."""
    order = Order(f"elsewhere{len(fal.orders)}", {"image_url": image, "seed": seed}, {}, time.time() - ago)
    order.state, order.ended, order.code = "COMPLETED", time.time(), 500 if failed else 200
    order.error_type = "internal_server_error" if failed else ""
    order.answer = Reply(500, {"detail": "no"}) if failed else {"images": [], "seed": seed}
    fal.orders[order.id] = order
    return order


# By its request


def test_a_request_is_followed_and_fetched_and_nothing_is_sent(fal: Fal) -> None:
    fal.seconds = 0.5
    handle = cut_off(is_stage("submitted"))
    calls = len(fal.calls)
    drafted = taken_up(handle)
    assert [call for call, _ in fal.calls[calls:]] == ["stream", "result", *["media"] * 3]
    assert len(drafted.layers) == 3 and len(fal.orders) == 1 and drafted.job.seed == 77 and drafted.job.cost == 0.05


def test_a_request_of_an_address_that_has_changed_is_asked_for_at_the_new_one(fal: Fal) -> None:
    handle = json.loads(cut_off(is_stage("submitted")))
    for name in ("status_url", "response_url", "cancel_url"):
        handle[name] = handle[name].replace("127.0.0.1", "fal-of-yesterday.example")
    assert len(taken_up(json.dumps(handle)).layers) == 3 and len(fal.orders) == 1


@pytest.mark.parametrize("text", ["{}", "7", "remote-7", '{"stage": "submitted"}', '{"stage": "dreaming"}'])
def test_a_handle_that_cannot_be_read_is_not_taken_for_none(fal: Fal, text: str) -> None:
    drafted = taken_up(text)
    assert drafted.failure.code == "unknown_fate" and fal.calls == []
    assert drafted.handles == [{}], "the user decides, and a new start is a new order"


def test_handles_come_back_as_they_were() -> None:
    for handle in (Intent(1.5, 7, "u"), Submitted("a", "b", "c", "d", 9, called_off=True, done=True)):
        assert from_text(to_text(handle)) == handle
    assert ids_in((to_text(Submitted("a", "", "", "", 1)), to_text(Intent(1, 2, "")), "x", "")) == {"a"}


# Cut off at the very moment of handing over


def at_the_very_moment(fal: Fal, *, taken: bool) -> str:
    """Killed between the intent and the request; taken: the request had just been sent."""
    if not taken:
        return cut_off(is_stage("submitting"))
    handle = cut_off(is_stage("submitted"))
    intent = Intent(next(iter(fal.orders.values())).sent, 77, next(iter(fal.orders.values())).input["image_url"])
    assert json.loads(handle)["request_id"] in fal.orders
    return to_text(intent)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_an_order_that_was_taken_is_found_in_fals_list(fal: Fal, hurried: None, inputs: bool, early: bool) -> None:
    fal.keeps_inputs, fal.lists_early, fal.seconds = inputs, early, 0.6
    intent = at_the_very_moment(fal, taken=True)
    ordered(fal, 78)
    ordered(fal, 77, ago=60)
    drafted = taken_up(intent)
    assert len(drafted.layers) == 3 and fal.count("submit") == 1 and drafted.job.seed == 77
    assert "Asking fal whether it took the picture" in drafted.stages
    assert drafted.handles[0]["stage"] == "submitted", "from here on it is known by its id"


def test_an_order_that_fal_never_saw_is_not_sent_again(fal: Fal, hurried: None) -> None:
    intent = at_the_very_moment(fal, taken=False)
    drafted = taken_up(intent)
    error = drafted.failure
    assert error.code == "unknown_fate" and not error.retryable and fal.count("submit") == 0
    assert "it cannot be told whether fal took it" in error.message and "Requests" in error.hint
    assert drafted.handles[-1] == {}, "the user decides, and a new start is a new order"


def test_another_programs_request_of_the_same_moment_is_not_taken_for_ours(fal: Fal, hurried: None) -> None:
    intent = at_the_very_moment(fal, taken=False)
    ordered(fal, 1234)
    assert taken_up(intent).failure.code == "unknown_fate"


def test_a_request_that_another_job_has_is_not_taken_for_ours(fal: Fal, hurried: None) -> None:
    """The same picture, split twice with the same seed."""
    intent = at_the_very_moment(fal, taken=False)
    other = ordered(fal, 77)
    drafted = taken_up(intent, others=(to_text(Submitted(other.id, "", "", "", 77)),))
    assert drafted.failure.code == "unknown_fate"


def test_two_that_may_be_ours_are_one_too_many(fal: Fal, hurried: None) -> None:
    intent = at_the_very_moment(fal, taken=False)
    ordered(fal, 77), ordered(fal, 77)
    assert taken_up(intent).failure.code == "unknown_fate"


def test_the_only_one_of_that_moment_that_failed_was_ours(fal: Fal, hurried: None) -> None:
    intent = at_the_very_moment(fal, taken=False)
    ordered(fal, 77, failed=True)
    ordered(fal, 9)
    assert taken_up(intent).failure.code == "fal_failed"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_that_may_not_see_the_list_leaves_it_unknown(fal: Fal, hurried: None, status: int) -> None:
    intent = at_the_very_moment(fal, taken=True)
    fal.script["listing"] = [Reply(status, {"detail": "no"})]
    assert taken_up(intent).failure.code == "unknown_fate" and fal.count("submit") == 1


def test_a_long_list_is_read_to_its_end(fal: Fal, hurried: None) -> None:
    intent = at_the_very_moment(fal, taken=False)
    for number in range(230):
        ordered(fal, 1000 + number, ago=-60)
    fal.orders["last"] = Order("last", {"seed": 77}, {}, time.time(), "COMPLETED", ended=1.0)
    fal.orders["last"].answer = {"images": [], "seed": 77}
    drafted = taken_up(intent)
    assert drafted.handles[0]["request_id"] == "last" and fal.count("listing") == 3


@pytest.mark.parametrize("status", [500, 502, 504, 408])
@pytest.mark.parametrize("taken", [True, False])
def test_an_order_whose_answer_is_lost_is_looked_up_and_not_sent_again(
    fal: Fal, hurried: None, status: int, taken: bool
) -> None:
    fal.script["submit"] = [Reply(status, b"<html>", done=taken)]
    drafted = draft()
    assert fal.count("submit") == 1 and len(fal.orders) == int(taken)
    if taken:
        assert len(drafted.layers) == 3
    else:
        assert drafted.failure.code == "unknown_fate"


@pytest.mark.parametrize("body", [{}, {"request_id": 7}, {"request_id": "../../7"}, b"<html>", ["x"]])
def test_an_answer_without_a_number_is_looked_up(fal: Fal, hurried: None, body: Any) -> None:
    fal.script["submit"] = [Reply(200, body, done=True)]
    assert len(draft().layers) == 3 and fal.count("submit") == 1


# Cancelled


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
    assert fate == Fate.UNKNOWN and 0.5 <= time.monotonic() - began < 6
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
    submit = fal._submit

    def set_to(seconds: float) -> None:
        async def slow(request: Any) -> Any:
            answer = await submit(request)
            await asyncio.sleep(seconds)
            return answer

        monkeypatch.setattr(fal, "_submit", slow)

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

    monkeypatch.setattr(fal, "_submit", refuse)
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


# Beside each other


def test_many_jobs_of_one_model_each_get_their_own(fal: Fal) -> None:
    fal.seconds = 0.3
    seeds = range(1, 13)

    async def go() -> list[Drafted]:
        chosen = choose("fal")
        assert chosen.remote is not None
        model = chosen.remote.connect(chosen.options)
        jobs = [drive(picture(seed=seed), seed=seed, model=model) for seed in seeds]
        drafted = await asyncio.gather(*jobs)
        await model.close()
        return drafted

    all_drafted = asyncio.run(go())
    for seed, drafted in zip(seeds, all_drafted, strict=True):
        assert drafted.error is None and drafted.job.seed == seed
        assert np.array_equal(composite(drafted.layers), picture(seed=seed).view[..., :3])
        [intent, request, done] = drafted.handles
        assert intent["seed"] == seed and fal.orders[request["request_id"]].input["seed"] == seed
        assert done == {**request, "done": True}
    assert len(fal.orders) == len(seeds)


def test_of_two_equal_jobs_beside_each_other_none_takes_the_others_request_for_its_own(fal: Fal, hurried: None) -> None:
    """The second's answer is lost, and fal never saw it: the first's request is in fal's list, with the same seed."""
    fal.lists_early, fal.seconds = True, 0.5

    async def go() -> list[Drafted]:
        chosen = choose("fal")
        assert chosen.remote is not None
        model = chosen.remote.connect(chosen.options)
        first = asyncio.ensure_future(drive(model=model))
        while not fal.orders:
            await asyncio.sleep(0.01)
        fal.script["submit"] = [Reply(502, b"<html>")]
        drafted = await asyncio.gather(first, drive(model=model))
        await model.close()
        return drafted

    first, second = asyncio.run(go())
    assert len(first.layers) == 3 and second.failure.code == "unknown_fate" and len(fal.orders) == 1
