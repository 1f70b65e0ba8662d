"""What was begun is taken up by its name: never handed over twice, never lost while fal has it."""

import json
import time
from typing import Any

import pytest

from bridge.backends import preferences
from bridge.backends.fal.handle import Intent, Submitted, from_text, ids_in, to_text
from tests.unit.backends.fal.driving import draft
from tests.unit.backends.fal.interrupted import cut_off, is_stage, taken_up
from tests.unit.backends.fal.service import Fal, Order, Reply, Service


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
    ordered(fal, 77)
    ordered(fal, 77)
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
