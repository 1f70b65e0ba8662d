"""What comes back: files that are none, or broken, or not what was asked for."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bridge.backends.fal.images import is_whole
from bridge.settings import Settings
from tests.unit.backends.fal.driving import Drafted, draft, picture
from tests.unit.backends.fal.sentences import checked
from tests.unit.backends.fal.service import Fal, Reply, Service, png


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
