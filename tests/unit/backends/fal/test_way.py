"""A picture's way through fal where all goes well."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from bridge.backends.base import Progress
from bridge.backends.fal.account import Options
from bridge.backends.fal.backend import Fal as Backend
from bridge.backends.fal.pack import pack
from bridge.picture import Picture
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, Kept, composite, draft, drive, picture, plain
from tests.unit.backends.fal.service import KEY, Fal, Reply


def test_the_layers_come_as_fal_made_them(fal: Fal) -> None:
    shown = picture()
    drafted = draft(shown, Settings(num_layers=3))
    assert drafted.error is None and len(drafted.layers) == 3
    assert np.array_equal(composite(drafted.layers), shown.view[..., :3])
    assert [each.layer.kind for each in drafted.layers] == ["background", "object", "object"]
    assert drafted.job.cost == 0.05 and drafted.job.seed == 77 and drafted.job.notes == []


def test_every_setting_goes_by_the_pages_name(fal: Fal) -> None:
    asked = Settings(
        prompt="a mermaid",
        negative_prompt="blur",
        num_layers=7,
        num_inference_steps=50,
        guidance_scale=7.5,
        acceleration="high",
        enable_safety_checker=False,
        output_format="webp",
    )
    draft(settings=asked, seed=2**31 - 1)
    [order] = fal.orders.values()
    sent = dict(order.input)
    assert sent.pop("image_url").startswith("http://127.0.0.1:")
    assert sent == {
        **asked.model_dump(exclude={"seed"}),
        "seed": 2**31 - 1,
    }


def test_what_is_left_open_goes_as_the_page_has_it(fal: Fal) -> None:
    draft(settings=Settings())
    [order] = fal.orders.values()
    assert order.input["num_layers"] == 4 and "prompt" not in order.input and order.input["sync_mode"] is False


def test_a_seed_that_fal_drew_is_the_reports(fal: Fal) -> None:
    fal.shape = lambda answer: {**answer, "seed": 123}
    assert draft().job.seed == 123


def test_private_pictures_are_asked_to_be_kept_an_hour_and_nowhere_else(fal: Fal) -> None:
    draft()
    headers = dict(fal.calls)
    kept = json.dumps({"expiration_duration_seconds": 3600})
    assert headers["initiate"]["x-fal-object-lifecycle-preference"] == kept
    assert headers["submit"]["x-fal-object-lifecycle-preference"] == kept
    assert headers["submit"]["x-fal-store-io"] == "0"
    assert float(headers["submit"]["x-fal-request-timeout"]) == Options().wall_clock


def test_the_key_goes_to_fal_alone(fal: Fal) -> None:
    draft()
    with_key = {call for call, headers in fal.calls if "authorization" in headers}
    assert with_key == {"initiate", "submit", "stream", "result"}
    assert {call for call, headers in fal.calls if KEY in str(headers)} == with_key


def test_the_calls_are_no_more_than_are_needed(fal: Fal) -> None:
    draft()
    assert [call for call, _ in fal.calls] == ["initiate", "put", "submit", "stream", "result", *["media"] * 3]


def test_a_picture_that_is_small_as_a_file_goes_along_in_the_order(fal: Fal) -> None:
    shown = plain()
    assert draft(shown).error is None
    assert fal.count("initiate") == fal.count("put") == 0
    [order] = fal.orders.values()
    sent = Image.open(io.BytesIO(base64.b64decode(order.input["image_url"].partition(",")[2])))
    assert np.array_equal(np.asarray(sent), shown.view[..., :3])


# What is sent of the picture


def opened(packed: bytes) -> Image.Image:
    return Image.open(io.BytesIO(packed))


@pytest.mark.parametrize(
    ("size", "sent"), [((1600, 1000), (1295, 810)), ((300, 200), (300, 200)), ((9000, 20), (9000, 20))]
)
def test_a_picture_is_scaled_to_what_the_model_uses_and_never_up(size: tuple[int, int], sent: tuple[int, int]) -> None:
    image = opened(pack(picture(*size)))
    assert image.size == sent and image.size[0] * image.size[1] <= 1.001 * 1024**2
    assert image.mode == "RGB", "an opaque picture needs no alpha"


def test_a_translucent_picture_keeps_its_alpha_and_no_hidden_colour_shows_in_it() -> None:
    pixels = np.zeros((2000, 3000, 4), np.uint8)
    pixels[..., :3] = (255, 0, 0)  # hidden: clear everywhere but in the middle
    pixels[500:1500, 1000:2000] = (0, 90, 200, 128)
    image = opened(pack(Picture(pixels)))
    assert image.mode == "RGBA"
    small = np.asarray(image).astype(int)
    seen = small[small[..., 3] > 20]
    assert np.abs(seen[:, :3] - (0, 90, 200)).max() <= 3 and seen[:, 3].max() == 128
    assert abs((small[..., 3] > 64).mean() - 1 / 6) < 0.01


def test_a_very_large_translucent_picture_does_not_fill_the_memory() -> None:
    import tracemalloc

    pixels = np.zeros((6000, 8000, 4), np.uint8)
    pixels[1000:] = 200
    shown = Picture(pixels)
    tracemalloc.start()
    image = opened(pack(shown))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert image.mode == "RGBA" and most < 150 * 2**20, f"{most / 2**20:.0f} MB for a picture of 192 MB"


# What the user sees meanwhile


def test_the_price_is_told_before_anything_is_sent(fal: Fal) -> None:
    first: list[object] = []

    def watch(event: object) -> None:
        if not first:
            first.append(event)
            assert fal.calls == []

    draft(watch=watch)
    assert first == [Progress("Sending the picture to fal (about $0.05)", 0, 1)]
    assert Backend().estimate(1000, 1000, Settings()).dollars == 0.05


async def behind_another(fal: Fal) -> tuple[Drafted, Drafted]:
    """Two jobs of which fal takes on one at a time: the first and the second."""
    first = asyncio.ensure_future(drive())
    while not fal.orders:
        await asyncio.sleep(0.01)
    second = await drive()
    return await first, second


async def test_places_in_the_queue_and_steps_are_told(fal: Fal) -> None:
    fal.concurrency, fal.seconds = 1, 1.5
    _, drafted = await behind_another(fal)
    assert "Waiting at fal: this one is next" in drafted.stages
    assert Progress("fal is splitting the picture", 1, 2) in drafted.events
    assert drafted.stages[-1] == "Fetching the layers from fal"
    assert drafted.stages.index("Waiting at fal: this one is next") < drafted.stages.index(
        "fal is splitting the picture"
    )


async def test_a_wait_in_the_queue_is_told_apart_from_a_mere_passing_through(
    fal: Fal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.backends.fal.model.QUEUED_AFTER", 0.2)
    fal.concurrency, fal.seconds = 1, 1.5
    first, second = await behind_another(fal)
    assert (first.paces, second.paces) == (["started"], ["queued", "started"])


def test_a_log_line_in_words_is_shown_in_words(fal: Fal, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.backends.fal import logs

    assert logs.read(" 25%|██▌       | 7/28 [00:02<00:06,  3.2it/s]") == Progress(logs.STAGE, 7, 28)
    assert logs.read("step 3/10") == Progress(logs.STAGE, 3, 10)
    assert logs.read("Reading\ttext\x1b[0m\u202e") == Progress("fal: Reading text [0m", 0, 1)
    assert logs.read("x" * 300) == Progress(f"fal: {'x' * 71}…", 0, 1)
    assert [logs.read(line) for line in ("", "...", "100%|", "7", "9/3 steps [")][:4] == [None] * 4


# Where the stream is not to be had


@pytest.mark.parametrize("status", [404, 405, 500])
def test_without_a_stream_it_asks(fal: Fal, hurried: None, status: int) -> None:
    fal.seconds = 0.3
    fal.script["stream"] = [Reply(status, {"detail": "no"})] * 9
    drafted = draft()
    assert drafted.error is None and len(drafted.layers) == 3
    assert fal.count("stream") == 1 and fal.count("status") >= 1


def test_a_stream_that_breaks_off_is_taken_up_again(fal: Fal, hurried: None) -> None:
    fal.seconds = 0.4
    half = b'data: {"status": "IN_PROGRESS", "logs": []}\n\n'
    fal.script["stream"] = [Reply(200, half, {"content-type": "text/event-stream"})] * 2
    assert len(draft().layers) == 3
    assert fal.count("stream") >= 3


# What is written down, and when


def test_the_intent_is_written_down_before_the_request_and_its_id_before_the_wait(fal: Fal) -> None:
    seen: list[tuple[str, int, int, int]] = []

    def watch(event: object) -> None:
        if isinstance(event, Kept):
            seen.append((event.told["stage"], len(fal.orders), fal.count("stream"), fal.count("result")))

    drafted = draft(watch=watch)
    assert seen == [("submitting", 0, 0, 0), ("submitted", 1, 0, 0), ("submitted", 1, 1, 0)]
    [intent, request, done] = drafted.handles
    [order] = fal.orders.values()
    assert abs(intent["at"] - order.sent) < 5 and intent["image"] == order.input["image_url"] and intent["seed"] == 77
    assert request["request_id"] == order.id and done == {**request, "done": True}
    for name, end in (("status_url", "/status"), ("response_url", ""), ("cancel_url", "/cancel")):
        assert request[name].endswith(f"/requests/{order.id}{end}")
    assert KEY not in json.dumps(drafted.handles)


def test_what_is_done_is_only_fetched(fal: Fal) -> None:
    """Where the bridge ended between fal's word that it was done and the last layer."""
    done = json.dumps(draft().handles[-1])
    calls = len(fal.calls)
    drafted = draft(seed=1, handle=done)
    assert [call for call, _ in fal.calls[calls:]] == ["result", *["media"] * 3]
    assert len(drafted.layers) == 3 and len(fal.orders) == 1 and drafted.job.seed == 77


def test_a_result_that_was_said_to_be_there_too_early_is_waited_for(
    fal: Fal, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.backends.fal.model.TOO_EARLY", 0.05)
    fal.seconds = 0.5
    early = b'data: {"status": "COMPLETED"}\n\n'
    fal.script["stream"] = [Reply(200, early, {"content-type": "text/event-stream"})]
    drafted = draft()
    assert len(drafted.layers) == 3 and fal.count("result") >= 2 and fal.count("stream") == 2
