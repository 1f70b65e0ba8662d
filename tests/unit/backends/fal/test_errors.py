"""Every error that fal can give: a sentence for an artist, a hint, and whether the same may go well the next time."""

import json
import time
from typing import Any

import pytest

from bridge.backends import preferences
from bridge.backends.base import Fate, RemoteError
from bridge.backends.fal.handle import Submitted, to_text
from bridge.settings import Settings
from tests.unit.backends.fal.driving import draft
from tests.unit.backends.fal.sentences import checked
from tests.unit.backends.fal.service import KEY, Fal, Reply, Service


def detail(kind: str, place: list[Any] | None = None) -> dict[str, Any]:
    return {
        "detail": [
            {"loc": place or ["body", "image_url"], "msg": "mermaid", "type": kind, "url": "u", "input": "mermaid"}
        ]
    }


def reason(kind: str) -> dict[str, Any]:
    return {"detail": "mermaid", "error_type": kind}


# What the order itself may be answered

REFUSALS: list[tuple[int, Any, str, str]] = [
    (401, {"detail": "Unauthorized"}, "fal_key", "does not accept the key"),
    (403, {"detail": "User is locked. Reason: Exhausted balance. Top up"}, "fal_balance", "no money left"),
    (403, {"detail": "User is locked. Reason: abuse"}, "fal_locked", "locked your account"),
    (403, {"detail": "Forbidden"}, "fal_key", "does not let this key"),
    (404, {"detail": "Application not found"}, "fal_address", "nobody splits pictures"),
    (413, b"too big", "bad_picture", "too large"),
    (422, detail("content_policy_violation"), "refused_content", "safety checker"),
    (422, detail("image_too_small"), "bad_picture", "too small"),
    (422, detail("image_too_large"), "bad_picture", "too large"),
    (422, detail("image_load_error"), "bad_picture", "could not open"),
    (422, detail("file_download_error"), "bad_picture", "could not fetch"),
    (422, detail("file_too_large"), "bad_picture", "too large"),
    (422, detail("unsupported_image_format"), "bad_picture", "of this kind"),
    (422, detail("greater_than", ["body", "num_layers"]), "bad_settings", "“num_layers” is too small a number"),
    (422, detail("greater_than_equal", ["body", "guidance_scale"]), "bad_settings", "“guidance_scale” is too small"),
    (422, detail("less_than", ["body", "num_layers"]), "bad_settings", "“num_layers” is too large a number"),
    (422, detail("less_than_equal", ["body", "seed"]), "bad_settings", "“seed” is too large"),
    (422, detail("one_of", ["body", "acceleration"]), "bad_settings", "“acceleration” is something"),
    (422, detail("one_of", ["body", "mermaid"]), "bad_settings", "One of the settings"),
    (422, detail("feature_not_supported"), "bad_settings", "these settings together"),
    (422, detail("something_new"), "bad_settings", "with these settings"),
    (422, b"<html>mermaid</html>", "bad_settings", "with these settings"),
    (422, {"detail": [7, None, {"type": None, "loc": 3}]}, "bad_settings", "with these settings"),
    (400, detail("downstream_service_error"), "fal_failed", "that fal needs"),
    (400, {"detail": "Bad request"}, "bad_settings", "as it was sent"),
    (302, {"detail": "elsewhere"}, "bad_settings", "as it was sent"),
]


@pytest.mark.parametrize(("status", "body", "code", "words"), REFUSALS, ids=lambda value: str(value)[:40])
def test_an_order_that_is_refused_is_said_and_forgotten(
    fal: Fal, status: int, body: Any, code: str, words: str
) -> None:
    fal.script["submit"] = [Reply(status, body)]
    drafted = draft(settings=Settings(prompt="mermaid", num_layers=3))
    error = checked(drafted.failure)
    assert error.code == code and words in error.message
    assert drafted.handles[-1] == {}, "nothing is left to be taken up"
    assert fal.orders == {} and fal.count("submit") == 1 and drafted.job.cost == 0


# What a request that was taken may end in

ENDS: list[tuple[int, Any, str, str]] = [
    (500, detail("internal_server_error"), "fal_failed", "failed while splitting"),
    (500, detail("downstream_service_unavailable"), "fal_failed", "is not there at the moment"),
    (500, reason("runner_server_error"), "fal_failed", "machine failed"),
    (500, b"Internal Server Error", "fal_failed", "failed while splitting"),
    (502, reason("runner_incomplete_response"), "fal_failed", "stopped in the middle"),
    (503, reason("runner_scheduling_failure"), "fal_busy", "no machine free"),
    (504, detail("generation_timeout"), "fal_timeout", "too long over the picture"),
    (504, reason("request_timeout"), "fal_timeout", "did not come to the picture in time"),
    (504, reason("startup_timeout"), "fal_timeout", "machines started in time"),
    (504, b"", "fal_timeout", "too long"),
    (499, reason("client_cancelled"), "called_off", "called off"),
    (422, detail("content_policy_violation"), "refused_content", "safety checker"),
    (422, detail("image_load_error"), "bad_picture", "could not open"),
]


# Not told by the status either, an untyped 5xx may be the way's: it is asked for again, as long as the clock runs.
TOLD = [(told, *end) for told in (True, False) for end in ENDS if told or not isinstance(end[1], bytes)]


@pytest.mark.parametrize(("told", "status", "body", "code", "words"), TOLD, ids=lambda value: str(value)[:40])
def test_a_request_that_fails_is_said_and_forgotten(
    fal: Fal, hurried: None, told: bool, status: int, body: Any, code: str, words: str
) -> None:
    """told: whether the status says so, too."""
    fal.fails = Reply(status, body)
    fal.fails_as = "internal_server_error" if told else ""
    drafted = draft()
    error = checked(drafted.failure)
    assert error.code == code and words in error.message
    assert drafted.handles[-1] == {} and len(fal.orders) == 1 and drafted.layers == []
    assert error.retryable == (code not in ("refused_content",)), "what fal failed at may go well another time"


def test_a_failure_without_a_type_is_believed_after_some_tries(fal: Fal, hurried: None) -> None:
    fal.fails = Reply(500, {"detail": "Internal Server Error"})
    assert checked(draft().failure).code == "fal_failed" and fal.count("result") == 5


def test_a_failure_that_only_the_status_tells_of(fal: Fal, hurried: None) -> None:
    fal.fails, fal.fails_as = Reply(200, {"images": []}), "runner_disconnected"
    assert checked(draft().failure).message == "fal lost the machine that split the picture."


# What passes


def test_a_burst_of_429_is_waited_out_and_told(fal: Fal, hurried: None) -> None:
    fal.script["submit"] = [Reply(429, {"detail": "slow down"})] * 6
    drafted = draft()
    assert len(drafted.layers) == 3 and len(fal.orders) == 1
    assert drafted.paces == ["refused"] * 6 + ["started"]
    intents = [each["at"] for each in drafted.handles if each.get("stage") == "submitting"]
    assert len(intents) == 7 and intents == sorted(intents), "each try has its own moment written down"
    assert drafted.handles[1] == {}, "and none is left while fal has certainly not taken it"


def test_a_pause_that_fal_asks_for_is_kept(fal: Fal) -> None:
    fal.script["submit"] = [Reply(429, {"detail": "slow down"}, {"Retry-After": "0.9"})]
    began = time.monotonic()
    assert draft().error is None and time.monotonic() - began > 0.9


def test_a_503_in_fals_own_form_was_not_taken_and_is_tried_again(fal: Fal, hurried: None) -> None:
    fal.script["submit"] = [Reply(503, {"detail": "unavailable"})] * 3
    assert draft().error is None and len(fal.orders) == 1 and fal.count("submit") == 4


@pytest.mark.parametrize("call", ["initiate", "put", "status", "result", "media"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_calls_that_can_be_made_twice_are(fal: Fal, hurried: None, call: str, status: int) -> None:
    fal.script["stream"] = [Reply(404, {})]
    fal.script[call] = [Reply(status, b"<html>bad gateway</html>")] * 3
    assert len(draft().layers) == 3 and len(fal.orders) == 1


def test_a_key_that_is_revoked_meanwhile_costs_no_result(fal: Fal, hurried: None) -> None:
    fal.script["stream"], fal.script["status"] = [Reply(404, {})], [Reply(401, {"detail": "revoked"})]
    drafted = draft()
    error = checked(drafted.failure)
    assert error.code == "fal_key" and error.retryable and "without being paid for twice" in error.hint
    assert isinstance(error, RemoteError) and error.holds
    assert drafted.handles[-1]["stage"] == "submitted"
    again = draft(seed=1, handle=json.dumps(drafted.handles[-1]))
    assert len(again.layers) == 3 and len(fal.orders) == 1


# The wall clock


@pytest.fixture
def short_clock(service: Service) -> None:
    preferences.change("fal-wall-clock", "5")


@pytest.mark.parametrize(("begins", "fate"), [(True, Fate.BEGUN), (False, Fate.REMOVED)])
def test_what_takes_too_long_can_be_called_off(fal: Fal, short_clock: None, begins: bool, fate: Fate) -> None:
    fal.seconds, fal.concurrency = 60, int(begins)
    drafted = draft()
    [order] = fal.orders.values()
    assert drafted.overtime and drafted.fate == fate
    assert order.called_off and drafted.handles[-1]["called_off"] is True


def test_a_service_that_refuses_for_ever_is_asked_until_the_clock_runs_out(
    fal: Fal, short_clock: None, hurried: None
) -> None:
    fal.script["submit"] = [Reply(429, {"detail": "no"})] * 500
    drafted = draft()
    assert drafted.overtime and drafted.fate == Fate.NOT_SENT and fal.orders == {}
    assert set(drafted.paces) == {"refused"} and drafted.handles[-1] == {}


def test_layers_that_do_not_come_in_time_can_be_fetched_later(fal: Fal, short_clock: None, hurried: None) -> None:
    fal.script["result"] = [Reply(502, b"<html>")] * 500
    drafted = draft()
    assert drafted.overtime and drafted.fate == Fate.DONE
    fal.script["result"] = []
    assert len(draft(seed=1, handle=json.dumps(drafted.handles[-1])).layers) == 3
    assert len(fal.orders) == 1


# The way there


def test_a_fal_that_is_not_there_is_said_soon(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.backends.fal.storage.PATIENCE", 1.0)
    monkeypatch.setattr("bridge.backends.fal.queue.PATIENCE", 1.0)
    monkeypatch.setenv("UNFLATTEN_FAL_URL", "http://127.0.0.1:1")
    began = time.monotonic()
    drafted = draft()
    assert checked(drafted.failure).code == "connection" and time.monotonic() - began < 10
    assert "nothing was paid" in drafted.failure.hint and drafted.handles[-1] == {}


def test_the_handle_of_a_fal_that_does_not_answer_is_kept(
    service: Service, short_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFLATTEN_FAL_URL", "http://127.0.0.1:1")
    request = to_text(Submitted("7", "", "", "", 3))
    drafted = draft(seed=1, handle=request)
    assert drafted.overtime and drafted.fate == Fate.UNKNOWN
    assert drafted.handles[-1]["request_id"] == "7" and "The connection to fal is lost: trying again" in drafted.stages


def test_no_error_tells_the_key_or_the_prompt(fal: Fal, hurried: None) -> None:
    fal.script["submit"] = [Reply(401, {"detail": f"Key {KEY} is not valid for mermaid"}, {"x-fal-error-type": KEY})]
    error = draft(settings=Settings(prompt="mermaid")).failure
    assert KEY not in repr(error) + str(error.__dict__) and "mermaid" not in repr(error)
