"""What was begun is taken up by its name: never handed over twice, never lost while fal has it."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from bridge import preferences
from bridge.backends.base import Event, Handle, JobContext
from bridge.backends.fal.backend import Fal as Backend
from bridge.backends.fal.handle import Intent, Ticket, from_text, ids_in, to_text
from bridge.errors import Cancelled
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, draft, picture
from tests.unit.backends.fal.service import Fal, Order, Reply, Service


class Killed(Exception):
    pass


def cut_off(when: Callable[[Event], bool], **options: Any) -> str:
    """Run a draft until `when` says that this process dies, right after the event is written down; its last handle."""
    kept = [""]

    def watch(event: Event) -> None:
        if isinstance(event, Handle):
            kept.append(event.text)
        if when(event):
            raise Killed

    with pytest.raises(Killed):
        draft(watch=watch, **options)
    return kept[-1]


def is_stage(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Handle) and json.loads(event.text or "{}").get("stage") == name


def taken_up(handle: str, **options: Any) -> Drafted:
    return draft(job=JobContext(seed=1, handle=handle, **options))


@pytest.fixture(autouse=True)
def short_search(service: Service) -> None:
    """Half the wall clock is the time that a lost order is looked for."""
    preferences.change("wall-clock", "6")


def ordered(fal: Fal, seed: int, *, ago: float = 0.0, image: str = "", failed: bool = False) -> Order:
    """A request that was sent from elsewhere, and has ended."""
    order = Order(f"elsewhere{len(fal.orders)}", {"image_url": image, "seed": seed}, {}, time.time() - ago)
    order.state, order.ended, order.code = "COMPLETED", time.time(), 500 if failed else 200
    order.error_type = "internal_server_error" if failed else ""
    order.answer = Reply(500, {"detail": "no"}) if failed else {"images": [], "seed": seed}
    fal.orders[order.id] = order
    return order


# By its ticket


def test_a_ticket_is_followed_and_fetched_and_nothing_is_sent(fal: Fal) -> None:
    fal.seconds = 0.5
    handle = cut_off(is_stage("submitted"))
    calls = len(fal.calls)
    drafted = taken_up(handle)
    assert [call for call, _ in fal.calls[calls:]] == ["stream", "result", *["media"] * 3]
    assert len(drafted.layers) == 3 and len(fal.orders) == 1 and drafted.job.seed == 77 and drafted.job.cost == 0.05


def test_a_ticket_of_an_address_that_has_changed_is_asked_for_at_the_new_one(fal: Fal) -> None:
    handle = json.loads(cut_off(is_stage("submitted")))
    for name in ("status_url", "response_url", "cancel_url"):
        handle[name] = handle[name].replace("127.0.0.1", "fal-of-yesterday.example")
    assert len(taken_up(json.dumps(handle)).layers) == 3 and len(fal.orders) == 1


@pytest.mark.parametrize("text", ["{}", "7", "remote-7", '{"stage": "submitted"}', '{"stage": "dreaming"}'])
def test_a_handle_that_cannot_be_read_is_not_taken_for_none(fal: Fal, text: str) -> None:
    drafted = taken_up(text)
    assert drafted.failure.code == "unknown_fate" and fal.calls == []


def test_handles_come_back_as_they_were() -> None:
    for handle in (Intent(1.5, 7, "u"), Ticket("a", "b", "c", "d", 9, called_off=True, done=True)):
        assert from_text(to_text(handle)) == handle
    assert ids_in((to_text(Ticket("a", "", "", "", 1)), to_text(Intent(1, 2, "")), "x", "")) == {"a"}


# Cut off at the very moment of handing over


def at_the_very_moment(fal: Fal, *, taken: bool) -> str:
    """Killed between the intent and the ticket; taken: the order had just been sent."""
    if not taken:
        return cut_off(is_stage("submitting"))
    handle = cut_off(is_stage("submitted"), job=JobContext(seed=77))
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
    assert drafted.handles[0]["stage"] == "submitted", "from here on it is known by its ticket"


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
    drafted = taken_up(intent, others=(to_text(Ticket(other.id, "", "", "", 77)),))
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


def cancelled_when(fal: Fal, when: Callable[[], bool], **options: Any) -> Drafted:
    stop = threading.Event()
    job = JobContext(
        seed=77, cancelled=lambda: stop.is_set() or (when() and not stop.set()) or stop.is_set(), **options
    )
    return draft(job=job)


def test_a_request_that_waits_is_removed_and_not_paid(fal: Fal) -> None:
    fal.concurrency = 0
    drafted = cancelled_when(fal, lambda: fal.count("stream") > 0)
    [order] = fal.orders.values()
    assert isinstance(drafted.error, Cancelled) and "nothing is paid" in drafted.error.hint and order.called_off
    assert drafted.handles[-1]["called_off"] is True


def test_a_request_at_work_is_asked_to_stop_and_may_cost(fal: Fal) -> None:
    fal.seconds = 30
    began = time.monotonic()
    drafted = cancelled_when(fal, lambda: any(order.state == "IN_PROGRESS" for order in fal.orders.values()))
    assert isinstance(drafted.error, Cancelled) and time.monotonic() - began < 3
    assert "may go on, and charge for it" in drafted.error.hint
    assert fal.count("cancel") == 1


def test_a_batch_that_ends_leaves_at_work_what_is_paid_for(fal: Fal) -> None:
    fal.seconds = 1.5
    drafted = cancelled_when(
        fal, lambda: any(order.state == "IN_PROGRESS" for order in fal.orders.values()), spare_begun=True
    )
    assert isinstance(drafted.error, Cancelled) and fal.count("cancel") == 0
    assert len(taken_up(json.dumps(drafted.handles[-1])).layers) == 3 and len(fal.orders) == 1


def test_before_anything_is_handed_over_cancelling_costs_nothing(fal: Fal) -> None:
    fal.script["initiate"] = [Reply(503, b"")] * 50
    drafted = cancelled_when(fal, lambda: fal.count("initiate") > 0)
    assert isinstance(drafted.error, Cancelled) and drafted.error.hint == "" and fal.orders == {}


def test_while_fals_queue_is_being_connected_to_nothing_is_written_down(fal: Fal) -> None:
    """Whoever is killed there need not ask whether fal took it: a name looked up and a handshake take longest."""
    stop = threading.Event()
    written: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        preferences.change("fal-queue-url", f"https://127.0.0.1:{silent.getsockname()[1]}")
        job = JobContext(seed=77, cancelled=stop.is_set)
        running = Backend().draft(picture(), Settings(num_layers=3), job)

        def draw() -> None:
            with pytest.raises(Cancelled) as caught:
                written.extend(event.text for event in running if isinstance(event, Handle))
            written.append(caught.value.hint)

        drawing = threading.Thread(target=draw)
        drawing.start()
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1) == b"\x16", "a handshake has begun"
            time.sleep(0.3)
            assert written == []
            stop.set()
            drawing.join(5)
    assert written == [""], "nothing to be looked up, and nothing that might cost"
    assert fal.orders == {}


def test_an_order_on_its_way_is_seen_through_so_that_it_can_be_called_off(
    fal: Fal, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    submit = fal._submit
    fal.seconds = 30

    async def slow(request: Any) -> Any:
        answer = await submit(request)
        await asyncio.sleep(0.5)
        return answer

    monkeypatch.setattr(fal, "_submit", slow)
    drafted = cancelled_when(fal, lambda: bool(fal.orders))
    [order] = fal.orders.values()
    assert isinstance(drafted.error, Cancelled) and order.called_off
    assert drafted.handles[-1]["request_id"] == order.id


def test_cancelled_too_late_its_result_serves_the_next_time(fal: Fal) -> None:
    fal.seconds = 0.8
    first = cancelled_when(fal, lambda: any(order.state == "IN_PROGRESS" for order in fal.orders.values()))
    second = taken_up(json.dumps(first.handles[-1]))
    assert len(second.layers) == 3 and len(fal.orders) == 1


def test_cancelled_in_time_it_is_sent_anew_the_next_time(fal: Fal) -> None:
    fal.concurrency = 0
    first = cancelled_when(fal, lambda: fal.count("stream") > 0)
    fal.concurrency = 10
    second = taken_up(json.dumps(first.handles[-1]))
    assert len(second.layers) == 3 and len(fal.orders) == 2
    assert [order.called_off for order in fal.orders.values()] == [True, False]


def test_a_draft_that_is_closed_after_a_cancel_calls_off_what_it_began(fal: Fal) -> None:
    fal.seconds = 30
    stop = threading.Event()
    running = Backend().draft(picture(), Settings(num_layers=3), JobContext(seed=77, cancelled=stop.is_set))
    for event in running:
        if isinstance(event, Handle) and json.loads(event.text)["stage"] == "submitted":
            break
    stop.set()
    running.close()
    assert fal.count("cancel") == 1


def test_a_draft_that_is_closed_otherwise_lets_fal_go_on(fal: Fal) -> None:
    running = Backend().draft(picture(), Settings(num_layers=3), JobContext(seed=77))
    for event in running:
        if isinstance(event, Handle) and json.loads(event.text)["stage"] == "submitted":
            break
    running.close()
    assert fal.count("cancel") == 0
