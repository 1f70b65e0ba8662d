"""Every error that fal can give: a sentence for an artist, a hint, and whether the same may go well the next time."""

import io
import json
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bridge.backends import preferences
from bridge.backends.base import Fate, RemoteError
from bridge.backends.fal.handle import Submitted, to_text
from bridge.backends.fal.images import is_whole
from bridge.errors import UnflattenError
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, draft, picture
from tests.unit.backends.fal.service import KEY, Fal, Reply, Service, png

JARGON = ("tensor", "payload", "traceback", "exception", "json", "http", "status", "mermaid", KEY)


def detail(kind: str, place: list[Any] | None = None) -> dict[str, Any]:
    return {
        "detail": [
            {"loc": place or ["body", "image_url"], "msg": "mermaid", "type": kind, "url": "u", "input": "mermaid"}
        ]
    }


def reason(kind: str) -> dict[str, Any]:
    return {"detail": "mermaid", "error_type": kind}


def checked(error: UnflattenError) -> UnflattenError:
    """The error, if it is fit for an artist."""
    assert isinstance(error, RemoteError)
    kinds = {"refused_content": "content", "bad_picture": "picture", "bad_settings": "settings"}
    assert error.kind == kinds.get(error.code, "service")
    assert error.message.endswith(".") and error.hint.endswith("."), (error.message, error.hint)
    told = f"{error.message} {error.hint}".lower()
    assert not [word for word in JARGON if word in told], told
    return error


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


# What comes back


def answered(fal: Fal, **changes: Any) -> Drafted:
    fal.shape = lambda answer: {**answer, **changes}
    return draft()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "holds no layers"),
        (None, "holds no layers"),
        ("many", "holds no layers"),
        ([{"url": "https://x.example/"}] * 25, "holds 25 layers"),
        ([{"url": 7}], "does not say where"),
        ([{"url": "http://127.0.0.1:1/a.png"}], "not fetched from"),
        ([{"url": "https://169.254.169.254/a.png"}], "not fetched from"),
        ([{"url": "file:///etc/passwd"}], "not fetched from"),
        ([{"url": "data:image/png;base64,AAAA"}], "is no picture"),
        ([{"url": "data:image/png,<b>"}], "is no picture"),
    ],
)
def test_a_result_that_is_none_is_said(fal: Fal, images: Any, words: str) -> None:
    error = checked(answered(fal, images=images).failure)
    assert error.code == "bad_result" and words in error.message


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>mermaid</html>", png(picture().pixels)[:5000], b"GIF89a" + bytes(40)],
    ids=["nothing", "a page", "half a picture", "another kind"],
)
def test_an_image_that_is_none_is_fetched_again_and_then_said(fal: Fal, hurried: None, data: bytes) -> None:
    fal.splitting = lambda picture, count: [data] * count
    error = checked(draft().failure)
    assert error.code == "bad_result" and "is no picture" in error.message


def test_an_image_that_broke_off_once_is_fetched_again(fal: Fal, hurried: None) -> None:
    fal.script["media"] = [Reply(200, png(picture().pixels)[:5000])]
    assert len(draft().layers) == 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_an_image_file_is_known_as_whole_only_to_its_last_byte(kind: str) -> None:
    out = io.BytesIO()
    Image.fromarray(picture(40, 30).pixels).convert("RGB").save(out, kind)
    data = out.getvalue()
    assert is_whole(data) and not any(is_whole(data[:length]) for length in range(len(data)))


def test_an_image_file_with_a_wrong_byte_in_its_middle_is_not_whole() -> None:
    data = bytearray(png(picture(40, 30).pixels))
    data[len(data) // 2] ^= 1
    assert not is_whole(bytes(data))


def test_an_image_that_only_its_decoder_finds_damaged_is_said(fal: Fal, hurried: None) -> None:
    out = io.BytesIO()
    Image.fromarray(picture(40, 30).pixels).save(out, "WEBP", lossless=True)
    damaged = out.getvalue()[:40] + bytes(len(out.getvalue()) - 40)
    fal.splitting = lambda picture, count: [damaged] * count
    error = checked(draft().failure)
    assert error.code == "bad_result" and "is no picture" in error.message and fal.count("media") == 3


def test_an_answer_far_too_large_is_said(fal: Fal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.backends.fal.queue.MOST_RESULT", 100)
    drafted = draft()
    assert "larger than any can be" in checked(drafted.failure).message and drafted.handles[-1] == {}


def test_an_image_larger_than_any_layer_is_not_decoded(fal: Fal) -> None:
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 200_000
    fal.splitting = lambda picture, count: [bomb.getvalue()] * count
    assert "is no picture" in checked(draft().failure).message


@pytest.mark.parametrize("status", [403, 404, 410])
def test_layers_that_have_expired_are_said_to_be_gone(fal: Fal, status: int) -> None:
    fal.script["media"] = [Reply(status, b"")] * 3
    drafted = draft()
    error = checked(drafted.failure)
    assert error.code == "gone" and "about an hour" in error.message and drafted.handles[-1] == {}


@pytest.mark.parametrize("call", ["status", "result"])
@pytest.mark.parametrize("status", [404, 410])
def test_a_result_that_is_gone_is_said_to_be_gone(service: Service, hurried: None, call: str, status: int) -> None:
    service.fal.script["stream"], service.fal.script[call] = [Reply(404, {})], [Reply(status, {"detail": "not found"})]
    drafted = draft()
    assert checked(drafted.failure).code == "gone" and drafted.handles[-1] == {}


@pytest.mark.parametrize(("given", "asked"), [(2, 4), (6, 5), (1, 2)])
def test_fewer_or_more_layers_than_asked_are_told(fal: Fal, given: int, asked: int) -> None:
    bands = fal.splitting
    fal.splitting = lambda picture, count: bands(picture, given)
    drafted = draft(settings=Settings(num_layers=asked))
    assert len(drafted.layers) == given
    assert drafted.job.notes == [f"fal gave {given} layer{'s' * (given != 1)} where {asked} had been asked for."]


def test_a_picture_blacked_out_by_the_checker_is_a_refusal(fal: Fal) -> None:
    black = np.zeros((200, 300, 4), np.uint8)
    black[..., 3] = 255
    fal.splitting = lambda picture, count: [png(black)] * count
    assert checked(answered(fal, has_nsfw_concepts=[True]).failure).code == "refused_content"


@pytest.mark.parametrize("flags", [[True, False, False], [True]])
def test_a_picture_that_is_only_marked_is_kept_with_a_note(fal: Fal, flags: list[bool]) -> None:
    drafted = answered(fal, has_nsfw_concepts=flags)
    assert len(drafted.layers) == 3 and drafted.job.notes == ["fal’s safety checker took note of this picture."]


def test_an_answer_that_lacks_all_that_can_be_lacked_is_enough(fal: Fal) -> None:
    fal.shape = lambda answer: {"images": [{"url": each["url"]} for each in answer["images"]]}
    drafted = draft()
    assert len(drafted.layers) == 3 and drafted.job.seed == 77 and drafted.job.notes == []


def test_webp_and_layers_in_the_answer_itself(fal: Fal) -> None:
    def webp(picture: bytes, count: int) -> list[bytes]:
        out = io.BytesIO()
        Image.open(io.BytesIO(picture)).convert("RGBA").save(out, "WEBP", lossless=True)
        return [out.getvalue()] * count

    import base64

    fal.splitting = webp
    assert len(draft().layers) == 3
    inline = [{"url": f"data:image/webp;base64,{base64.b64encode(webp(png(picture().pixels), 1)[0]).decode()}"}] * 3
    drafted = answered(fal, images=inline)
    assert np.array_equal(drafted.layers[0].layer.pixels, picture().pixels)


def test_layers_of_two_sizes_are_brought_to_one(fal: Fal) -> None:
    sizes = iter([(300, 200), (600, 400), (300, 200)])
    fal.splitting = lambda picture, count: [png(np.full((*next(sizes)[::-1], 4), 200, np.uint8)) for _ in range(count)]
    drafted = draft()
    assert [(each.width, each.height, each.layer.pixels.shape) for each in drafted.layers] == [
        (600, 400, (400, 600, 4))
    ] * 3
    shapes = iter([(300, 200), (200, 300), (300, 200)])
    fal.splitting = lambda picture, count: [png(np.full((*next(shapes)[::-1], 4), 200, np.uint8)) for _ in range(count)]
    assert "different shapes" in checked(draft().failure).message


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
