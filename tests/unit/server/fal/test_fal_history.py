"""The list of requests that fal's platform gives, and how long they are kept."""

import json
import time
from typing import Any

import httpx
import pytest

from tests.unit.trial.fal_api import (
    ENDPOINT,
    PLATFORM,
    QUEUE,
    Api,
    open_api,
)
from tests.unit.trial.running import Starter, wait_for

UPLOAD = "/media/files/upload"


def cancel(api: Api, request: str) -> httpx.Response:
    return api.http.put(f"{QUEUE}/requests/{request}/cancel")


# The list of requests


def test_a_lost_id_is_found_again(own_api: Api) -> None:
    running = own_api.submit(prompt="slow 20", seed=1)
    own_api.wait(running, "IN_PROGRESS")
    waiting = own_api.submit(seed=2)
    wait_for(lambda: own_api.listed(status="in_progress")[0]["started_at"])  # told from the first step on
    told = {each["request_id"]: each for each in own_api.listed(expand="payloads")}
    assert set(told) == {running, waiting}
    assert told[running]["json_input"]["seed"] == 1 and told[running]["started_at"]
    for each in told.values():
        assert each["ended_at"] is each["status_code"] is each["duration"] is None
        assert each["endpoint_id"] == ENDPOINT
    assert [each["request_id"] for each in own_api.listed(status="queued")] == [waiting]
    assert [each["request_id"] for each in own_api.listed(status="in_progress")] == [running]
    cancel(own_api, running)
    own_api.wait(waiting)
    [found] = own_api.listed(request_id=waiting, expand="payloads")
    assert found["status_code"] == 200 and found["duration"] > 0
    assert found["json_output"] == own_api.result(waiting).json()
    [cancelled] = own_api.listed(status="user_error")
    assert (cancelled["request_id"], cancelled["status_code"]) == (running, 499)
    assert "json_input" not in own_api.listed(request_id=waiting)[0]


def test_the_list_in_pages(own_api: Api) -> None:
    requests = [own_api.submit(num_layers=0, seed=seed) for seed in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"endpoint_id": ENDPOINT, "limit": 2}
    while True:
        page = own_api.http.get(PLATFORM, params=query).json()
        seen += [each["request_id"] for each in page["items"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == requests[::-1]


def test_the_list_between_two_moments(own_api: Api) -> None:
    own_api.submit(num_layers=0)
    now = time.time()
    hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3600))
    next_hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 3600))
    assert len(own_api.listed(start=hour, end=next_hour)) == 1
    assert own_api.listed(end=hour) == []
    assert own_api.listed(start=next_hour) == []
    for query in ({"start": "yesterday"}, {"cursor": "nonsense"}, {"limit": 0}, {"limit": 101}, {"status": "x"}):
        assert own_api.http.get(PLATFORM, params={"endpoint_id": ENDPOINT, **query}).status_code == 422
    assert own_api.http.get(PLATFORM).status_code == 422
    other = own_api.http.get(PLATFORM, params={"endpoint_id": "fal-ai/flux"}).json()
    assert other == {"items": [], "next_cursor": None, "has_more": False}


def test_sync_mode_keeps_the_output_out_of_the_list(own_api: Api) -> None:
    request = own_api.submit(sync_mode=True)
    own_api.wait(request)
    assert "json_output" not in own_api.listed(expand="payloads")[0]
    assert own_api.result(request).json()["images"][0]["url"].startswith("data:image/png;base64,")


def test_store_io_0_keeps_what_was_asked_out_of_everything(own_api: Api) -> None:
    request = own_api.submit(prompt="my-secret", headers={"X-Fal-Store-IO": "0"})
    own_api.wait(request)
    [told] = own_api.listed(expand="payloads")
    assert told["request_id"] == request and "json_input" not in told and "json_output" not in told
    assert own_api.result(request).json()["prompt"] == "my-secret", "its client still gets it"
    own_api.bridge.stop()
    for path in own_api.bridge.data.rglob("*"):
        assert not path.is_file() or b"my-secret" not in path.read_bytes(), path


def test_krita_s_jobs_are_not_the_api_s(own_api: Api) -> None:
    from tests.unit.trial.client import noise

    with own_api.bridge.client() as client:
        job = client.start(noise(32, 24))
        client.finish(job)
    assert own_api.listed() == []
    assert own_api.http.get(f"{QUEUE}/requests/{job}").status_code == 404
    assert cancel(own_api, job).status_code == 404


# Expiry


def test_what_is_to_be_kept_shortly_is_erased_from_the_disk(start: Starter) -> None:
    api = open_api(start)
    kept = api.submit(seed=1)
    short = api.submit(
        seed=2, headers={"X-Fal-Object-Lifecycle-Preference": json.dumps({"expiration_duration_seconds": 2})}
    )
    for request in (kept, short):
        api.wait(request)
    url = api.result(short).json()["images"][0]["url"]
    assert api.http.get(url).status_code == 200
    wait_for(lambda: api.http.get(url).status_code == 404, 5)
    assert api.http.get(api.result(kept).json()["images"][0]["url"]).status_code == 200
    api.bridge.stop()
    again = open_api(start)
    folder = again.bridge.data / "jobs" / short.replace("-", "")
    wait_for(lambda: not folder.exists(), 10)
    assert again.result(short).status_code == 404
    assert again.result(kept).status_code == 200


@pytest.mark.parametrize(
    "given", ["soon", "[]", "{", '{"expiration_duration_seconds": -1}', '{"expiration_duration_seconds": "x"}']
)
def test_a_lifecycle_that_is_none(api: Api, given: str) -> None:
    answer = api.run(headers={"X-Fal-Object-Lifecycle-Preference": given})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "X-Fal-Object-Lifecycle-Preference"]
