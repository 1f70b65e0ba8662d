"""What fal's own clients can do before the api: each call of each, over real sockets."""

import base64
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.clients.driving import JAVASCRIPT, UPLOADING, Client, Refused, every_client
from tests.unit.trial.client import noise
from tests.unit.trial.fal_api import Api, arguments, data_uri, flattened, huge, png
from tests.unit.trial.running import wait_for

PICTURE = noise(32, 24)


def fetched(client: Client, image: dict[str, Any]) -> np.ndarray:
    """An image of a result, as the client itself gets it."""
    content = base64.b64decode(client("fetch", url=image["url"]))
    assert len(content) == image["file_size"]
    opened = Image.open(io.BytesIO(content))
    assert Image.MIME[opened.format or ""] == image["content_type"]
    assert (opened.width, opened.height) == (image["width"], image["height"])
    assert image["url"].endswith("/" + image["file_name"])
    return np.asarray(opened.convert("RGBA"))


def check_result(client: Client, result: dict[str, Any], count: int = 4) -> None:
    """The result is whole, and its layers give the picture back."""
    assert len(result["images"]) == count
    layers = [fetched(client, image) for image in result["images"]]
    assert np.array_equal(flattened(layers), PICTURE)
    assert isinstance(result["seed"], int)
    assert result["has_nsfw_concepts"] == [False] * count
    assert set(result["timings"]) == {"inference", "finish"}


@every_client()
def test_run(client: Client) -> None:
    check_result(client, client("run", input=arguments()))


@every_client()
def test_every_parameter(client: Client) -> None:
    given = {
        "prompt": "bands",
        "negative_prompt": "none",
        "num_inference_steps": 50,
        "guidance_scale": 19.5,
        "seed": 12_345_678_901,
        "sync_mode": False,
        "num_layers": 3,
        "enable_safety_checker": True,
        "output_format": "webp",
        "acceleration": "high",
    }
    result = client("run", input=arguments(**given))
    check_result(client, result, count=3)
    assert result["seed"] == 12_345_678_901
    assert result["prompt"] == "bands"
    assert {image["content_type"] for image in result["images"]} == {"image/webp"}


@every_client()
def test_sync_mode(client: Client) -> None:
    result = client("run", input=arguments(sync_mode=True, num_layers=2))
    assert [image["url"][:22] for image in result["images"]] == ["data:image/png;base64,"] * 2
    contents = [base64.b64decode(image["url"][22:]) for image in result["images"]]
    assert [len(content) for content in contents] == [image["file_size"] for image in result["images"]]
    layers = [np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")) for content in contents]
    assert np.array_equal(flattened(layers), PICTURE)


@every_client()
def test_submit_status_result(client: Client, api: Api) -> None:
    request = client("submit", input=arguments(prompt="slow 0.5"))
    assert client("status", request=request, logs=True)["status"] in ("IN_QUEUE", "IN_PROGRESS")
    api.wait(request)
    status = client("status", request=request, logs=True)
    assert status["status"] == "COMPLETED"
    assert [line["message"] for line in status["logs"]][:2] == ["Beginning (1 of 2)", "Cutting (2 of 2)"]
    assert set(status["logs"][0]) == {"message", "level", "source", "timestamp"}
    assert status["metrics"]["inference_time"] > 0
    assert client("status", request=request, logs=False)["logs"] == []
    check_result(client, client("result", request=request))


@every_client()
def test_subscribe_polling_with_logs(client: Client) -> None:
    told = client("subscribe", input=arguments(prompt="slow 1.2"))
    check_result(client, told["result"])
    states = [update["status"] for update in told["updates"]]
    assert states[-1] == "COMPLETED" and "IN_PROGRESS" in states
    logs = [update["logs"] for update in told["updates"] if update["status"] == "IN_PROGRESS"]
    assert any(line["message"] == "Beginning (1 of 2)" for lines in logs for line in lines)


@every_client(JAVASCRIPT)
def test_subscribe_streaming_with_logs(client: Client) -> None:
    told = client("subscribe", input=arguments(prompt="slow 0.6"), mode="streaming")
    check_result(client, told["result"])
    assert told["told"] == told["request"]
    states = [update["status"] for update in told["updates"]]
    assert states[-1] == "COMPLETED" and states == sorted(states, key=["IN_QUEUE", "IN_PROGRESS", "COMPLETED"].index)
    messages = [line["message"] for line in told["updates"][-1]["logs"]]
    assert messages[:2] == ["Beginning (1 of 2)", "Cutting (2 of 2)"]
    assert len(messages) == len(set(messages)), "a line was told twice"


@every_client()
def test_follow_a_request_by_its_id(client: Client) -> None:
    request = client("submit", input=arguments(prompt="slow 0.4"))
    events = client("events", request=request)
    assert events[-1]["status"] == "COMPLETED"
    assert all(event["status"] in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED") for event in events)


@every_client()
def test_queue_position(client: Client, api: Api) -> None:
    first = client("submit", input=arguments(prompt="slow 5", seed=1))
    api.wait(first, "IN_PROGRESS")
    second = client("submit", input=arguments(seed=2))
    status = client("status", request=second, logs=True)
    assert status["status"] == "IN_QUEUE"
    assert status["queue_position" if client.is_javascript else "position"] == 1
    client("cancel", request=first)
    api.wait(second)


@every_client()
def test_low_priority(client: Client, api: Api) -> None:
    first = client("submit", input=arguments(prompt="slow 5", seed=1))
    api.wait(first, "IN_PROGRESS")
    patient = client("submit", input=arguments(seed=2), priority="low")
    urgent = client("submit", input=arguments(seed=3), priority="normal")
    wait_for(lambda: api.status(patient)["queue_position"] == 2)  # once the urgent one's picture is opened
    assert api.status(urgent)["queue_position"] == 1
    client("cancel", request=first)
    api.wait(patient)


@every_client()
def test_cancel(client: Client, api: Api) -> None:
    running = client("submit", input=arguments(prompt="slow 20", seed=1))
    api.wait(running, "IN_PROGRESS")
    waiting = client("submit", input=arguments(prompt="slow 20", seed=2))
    for request in (waiting, running):
        client("cancel", request=request)
        assert api.wait(request)["error_type"] == "client_cancelled"
        with pytest.raises(Refused) as refused:
            client("result", request=request)
        assert refused.value.status == 499 and refused.value.types == ["client_cancelled"]
        with pytest.raises(Refused) as refused:
            client("cancel", request=request)
        assert (refused.value.status, refused.value.told["body"]) == (400, {"status": "ALREADY_COMPLETED"})


@every_client()
def test_stream(client: Client) -> None:
    events = client("stream", input=arguments(prompt="slow 0.3"))
    assert events[0]["logs"][0]["message"] == "Beginning (1 of 2)"
    check_result(client, events[-1])


@every_client(UPLOADING)
def test_upload(client: Client) -> None:
    url = client("upload", content=base64.b64encode(png()).decode(), type="image/png", name="my picture.png")
    assert url.endswith("/my-picture.png")
    assert base64.b64decode(client("fetch", url=url)) == png()
    check_result(client, client("run", input=arguments(image_url=url)))


@every_client(UPLOADING)
def test_upload_a_file(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    check_result(client, client("run", input=arguments(image_url=client("upload_file", path=str(path)))))


@every_client(UPLOADING)
def test_upload_that_expires(client: Client) -> None:
    url = client("upload_expiring", content=base64.b64encode(png()).decode(), seconds=1)
    assert base64.b64decode(client("fetch", url=url)) == png()
    time.sleep(1.1)
    with pytest.raises(Refused) as refused:
        client("fetch", url=url)
    assert refused.value.status == 404 or "404" in refused.value.told["body"]


@every_client(["py fal-env", "py async"])
def test_upload_by_way_of_storage(client: Client) -> None:
    url = client("upload_storage", content=base64.b64encode(png()).decode())
    check_result(client, client("run", input=arguments(image_url=url)))


@every_client(["py fal-env", "py async"])
def test_upload_an_image(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    check_result(client, client("run", input=arguments(image_url=client("upload_image", path=str(path)))))


@every_client(["py fal-env", "py async", "py hosts"])
def test_encode_a_file(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    check_result(client, client("run", input=arguments(image_url=client("encode_file", path=str(path)))))


@every_client(JAVASCRIPT)
def test_a_blob_as_input(client: Client) -> None:
    given = {key: value for key, value in arguments().items() if key != "image_url"}
    check_result(client, client("blob", content=base64.b64encode(png()).decode(), input=given))


# What goes wrong, by what is sent. Each error as fal tells it: status, and the type that programs look at.

WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "missing": ({"image_url": None}, 422, "string_type"),
    "greater_than_equal": ({"num_inference_steps": 0}, 422, "greater_than_equal"),
    "less_than_equal": ({"guidance_scale": 20.5}, 422, "less_than_equal"),
    "one_of": ({"output_format": "gif"}, 422, "one_of"),
    "int_parsing": ({"seed": "a"}, 422, "int_parsing"),
    "image_load_error": ({"image_url": data_uri(b"not a picture")}, 422, "image_load_error"),
    "image_too_small": ({"image_url": data_uri(png(1, 1))}, 422, "image_too_small"),
    "image_too_large": ({"image_url": data_uri(huge())}, 422, "image_too_large"),
    "unsupported_image_format": ({"image_url": data_uri(b"8BPS\0\1")}, 422, "unsupported_image_format"),
    "file_download_error": ({"image_url": "https://127.0.0.1/a.png"}, 422, "file_download_error"),
    "file_download_error, http": ({"image_url": "http://example.com/a.png"}, 422, "file_download_error"),
    "content_policy_violation": ({"prompt": "refuse content"}, 422, "content_policy_violation"),
    "no_media_generated": ({"prompt": "refuse no_layers"}, 422, "no_media_generated"),
    "downstream_service_unavailable": (
        {"prompt": "refuse service"},
        500,
        "downstream_service_unavailable",
    ),
    "internal_server_error": ({"prompt": "bug"}, 500, "internal_server_error"),
    "worker killed": ({"prompt": "die 9"}, 500, "internal_server_error"),
}


@pytest.mark.parametrize("row", WRONG)
@every_client()
def test_errors_of_run(client: Client, row: str) -> None:
    given, status, kind = WRONG[row]
    with pytest.raises(Refused) as refused:
        client("run", input=arguments(**given))
    assert (refused.value.status, refused.value.types) == (status, [kind])
    assert refused.value.told["request-id"]
    [detail] = refused.value.told["body"]["detail"]
    assert detail["url"] == f"https://docs.fal.ai/errors#{kind}" and detail["msg"]
    assert detail["loc"][0] == "body"


@pytest.mark.parametrize("row", ["less_than_equal", "image_load_error", "internal_server_error"])
@every_client()
def test_errors_of_the_queue(client: Client, api: Api, row: str) -> None:
    given, status, kind = WRONG[row]
    request = client("submit", input=arguments(**given))
    told = api.wait(request)
    assert told["error_type"] == kind and told["error"]
    assert client("status", request=request, logs=True)["status"] == "COMPLETED"
    with pytest.raises(Refused) as refused:
        client("result", request=request)
    assert (refused.value.status, refused.value.types) == (status, [kind])
    with pytest.raises(Refused) as refused:
        client("subscribe", input=arguments(**given))
    assert (refused.value.status, refused.value.types) == (status, [kind])


@every_client()
def test_errors_of_stream(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client("stream", input=arguments(num_layers=11))
    if not client.is_javascript:  # Python's client looks at the content type before the status
        assert refused.value.told["body"].startswith("SSEError")
        return
    assert (refused.value.status, refused.value.types) == (422, ["less_than_equal"])


@every_client()
def test_a_wrong_key(client: Client) -> None:
    for call in ({"call": "run", "input": arguments()}, {"call": "status", "request": "x", "logs": False}):
        with pytest.raises(Refused) as refused:
            client(**call, key="wrong:key")
        assert (refused.value.status, refused.value.types) == (401, ["unauthorized"])


@every_client()
def test_an_unknown_endpoint(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client("run", input=arguments(), endpoint="fal-ai/flux/dev")
    assert refused.value.status == 404


@every_client()
def test_an_unknown_request(client: Client) -> None:
    request = "00000000-0000-4000-8000-000000000000"
    for call, body in (("status", {"logs": True}), ("result", {}), ("cancel", {})):
        with pytest.raises(Refused) as refused:
            client(call, request=request, **body)
        assert refused.value.status == 404


@every_client()
def test_a_result_that_is_not_there_yet(client: Client, api: Api) -> None:
    request = api.submit(prompt="slow 2")
    if client.is_javascript:  # Python's client waits by itself
        with pytest.raises(Refused) as refused:
            client("result", request=request)
        assert (refused.value.status, refused.value.types) == (400, ["request_in_progress"])
        api.http.put(f"/queue/fal-ai/qwen-image-layered/requests/{request}/cancel")
    else:
        check_result(client, client("result", request=request))


@every_client()
def test_a_time_to_start(client: Client, api: Api) -> None:
    first = api.submit(prompt="slow 20")
    api.wait(first, "IN_PROGRESS")
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        client("run", input=arguments(seed=9), start_timeout=1.1)
    assert (refused.value.status, refused.value.types) == (504, ["request_timeout"])
    assert time.monotonic() - began < 4, "the client tried again"
    api.http.put(f"/queue/fal-ai/qwen-image-layered/requests/{first}/cancel")
    api.wait(first)
    assert len(client("run", input=arguments(prompt="slow 1.5"), start_timeout=1.1)["images"]) == 4


@every_client()
def test_a_webhook(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client("submit", input=arguments(), webhook_url="https://example.com/hook")
    assert (refused.value.status, refused.value.types) == (422, ["feature_not_supported"])


@every_client(UPLOADING)
def test_a_file_that_is_too_large(client: Client, tmp_path: Path) -> None:
    """From 90 MB (JavaScript) or 100 MB (Python) on clients would send a file in parts."""
    path = tmp_path / "huge.png"
    with open(path, "wb") as file:
        file.truncate(101 * 2**20)
    with pytest.raises(Refused) as refused:
        client("upload_file", path=str(path))
    assert (refused.value.status, refused.value.types) == (413, ["file_too_large"])
