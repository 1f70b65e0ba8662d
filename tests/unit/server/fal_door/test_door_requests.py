"""What becomes of requests: met by equal ones, kept through a restart, listed, cancelled, left, erased."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from bridge.jobs.runner import MOST_WAITING

from bridge.server.fal_door.keys import VARIABLE
from tests.unit.trial.door import (
    ENDPOINT,
    KEY,
    PLATFORM,
    QUEUE,
    RUN,
    Door,
    arguments,
    ask,
    data_uri,
    open_door,
    png,
)
from tests.unit.trial.running import Starter, wait_for

UPLOAD = "/media/files/upload"


def uploaded(door: Door, content: bytes, **headers: str) -> str:
    return door.http.post(UPLOAD, content=content, headers=headers).json()["access_url"]


def cancel(door: Door, request: str) -> httpx.Response:
    return door.http.put(f"{QUEUE}/requests/{request}/cancel")


def asked_with(door: Door, prompt: str) -> list[dict[str, Any]]:
    """The requests of that prompt."""
    listed = door.listed(expand="payloads", limit=100)
    return [each for each in listed if each.get("json_input", {}).get("prompt") == prompt]


# The queue's answers


def test_submit_tells_all_that_clients_go_on_with(door: Door) -> None:
    answer = door.http.post(QUEUE, json=arguments())
    told = answer.json()
    base = f"{door.url}{QUEUE}/requests/{told['request_id']}"
    urls = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
    assert told == {"status": "IN_QUEUE", "request_id": told["request_id"], "queue_position": 0, **urls}
    assert answer.headers["x-fal-request-id"] == told["request_id"]
    door.wait(told["request_id"])


def test_status_is_202_until_it_is_complete(door: Door) -> None:
    request = door.submit(prompt="slow 0.5")
    url = f"{QUEUE}/requests/{request}/status"
    codes = set[int]()
    while (answer := door.http.get(url)).json()["status"] != "COMPLETED":
        codes.add(answer.status_code)
        assert answer.json()["status"] in ("IN_QUEUE", "IN_PROGRESS")
        assert ("queue_position" in answer.json()) == (answer.json()["status"] == "IN_QUEUE")
        time.sleep(0.02)
    assert (codes, answer.status_code) == ({202}, 200)


@pytest.mark.parametrize(
    ("asked", "told"), [("1", True), ("true", True), ("True", True), ("0", False), ("False", False)]
)
def test_logs_are_asked_for_in_both_clients_words(door: Door, asked: str, told: bool) -> None:
    request = door.submit()
    door.wait(request)
    logs = door.http.get(f"{QUEUE}/requests/{request}/status", params={"logs": asked}).json()["logs"]
    assert bool(logs) == told


def test_the_result_lies_under_response_too(door: Door) -> None:
    request = door.submit()
    door.wait(request)
    assert door.http.get(f"{QUEUE}/requests/{request}/response").json() == door.result(request).json()


def test_no_redirects_and_no_content_type_needed(door: Door) -> None:
    body = json.dumps(arguments()).encode()
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-8"}):
        assert door.http.post(RUN, content=body, headers=headers).status_code == 200
    assert door.http.post(f"{RUN}/", content=body).status_code == 404
    assert door.http.post(RUN, content=body.decode().encode("utf-16")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"null", b'"a"', b"\xff\xfe", b"[" * 100_000, b'{"image_url": 1}'])
def test_what_is_no_input_is_told_so(door: Door, body: bytes) -> None:
    answer = door.http.post(RUN, content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**63, 10**30])
def test_any_whole_number_is_a_seed_and_comes_back(door: Door, seed: int) -> None:
    assert door.run(seed=seed).json()["seed"] == seed


def test_a_drawn_seed_gives_the_same_again(door: Door) -> None:
    first = door.run().json()["seed"]
    assert 0 <= first < 2**31
    assert door.run(seed=first).json()["seed"] == first


# Equal requests


def test_equal_posts_meet_the_same_request(door: Door) -> None:
    given = {"prompt": "slow 1", "seed": 5}
    assert door.submit(**given) == door.submit(**given)
    assert door.submit(**given) == door.submit(**{"num_layers": 4, **given}), "a default that is said"
    others = [{**given, "seed": 6}, {**given, "image_url": data_uri(png(seed=2))}, {**given, "output_format": "webp"}]
    assert len({door.submit(**given), *(door.submit(**each) for each in others)}) == 4


def test_the_same_picture_in_another_way_is_an_equal_post(door: Door) -> None:
    first = door.submit(prompt="slow 1")
    assert door.submit(prompt="slow 1", image_url=uploaded(door, png())) == first
    assert door.submit(prompt="slow 1", image_url=uploaded(door, png())) == first


def test_two_equal_runs_get_the_same_result_of_one_job(door: Door) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: door.run(prompt="slow 0.55"), range(4)))
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["x-fal-request-id"] for answer in answers}) == 1
    assert len(asked_with(door, "slow 0.55")) == 1


def test_after_its_end_an_equal_post_is_a_new_request(door: Door) -> None:
    first = door.submit()
    door.wait(first)
    assert door.submit() != first


def test_a_submit_that_meets_a_run_keeps_it_going_when_the_run_s_client_leaves(start: Starter) -> None:
    door = open_door(start, grace=0.3)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{door.url}{RUN}",
            json=arguments(prompt="slow 1.5"),
            headers={"Authorization": f"Key {KEY}"},
            timeout=0.8,
            trust_env=False,
        )
    request = door.submit(prompt="slow 1.5")
    door.wait(request)
    assert door.result(request).status_code == 200


def test_an_equal_post_does_not_meet_a_request_that_is_being_cancelled(door: Door) -> None:
    first = door.submit(prompt="deaf 1.3")
    door.wait(first, "IN_PROGRESS")
    assert cancel(door, first).status_code == 202
    second = door.submit(prompt="deaf 1.3")
    assert second != first
    door.wait(second)
    assert (door.result(first).status_code, door.result(second).status_code) == (499, 200)


def test_an_equal_post_that_may_be_kept_otherwise_is_another_request(door: Door) -> None:
    first = door.submit(prompt="slow 1.1")
    assert door.submit(prompt="slow 1.1", headers={"X-Fal-Store-IO": "0"}) != first
    short = {"X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 60}'}
    assert door.submit(prompt="slow 1.1", headers=short) != first


def test_of_two_equal_posts_the_more_patient_one_counts(door: Door) -> None:
    first = door.submit(prompt="slow 1.6", seed=31)
    door.wait(first, "IN_PROGRESS")
    hasty = door.submit(seed=32, headers={"X-Fal-Request-Timeout": "1"})
    assert door.submit(seed=32) == hasty
    assert "error" not in door.wait(hasty)
    assert door.result(hasty).status_code == 200


def test_more_than_may_wait_are_turned_away_and_the_rest_stays(start: Starter) -> None:
    door = open_door(start, drain=0.1)
    first = door.submit(prompt="slow 60")
    door.wait(first, "IN_PROGRESS")
    with ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(door.http.post, QUEUE, json=arguments(seed=seed)) for seed in range(MOST_WAITING + 5)]
        answers = [each.result() for each in posts]
    refused = [each for each in answers if each.status_code != 200]
    assert len(refused) == 5
    assert {(each.status_code, each.json()["error_type"]) for each in refused} == {(429, "too_many_requests")}
    assert {each.headers["x-fal-retryable"] for each in refused} == {"true"}
    assert door.status(first)["status"] == "IN_PROGRESS"


# Clients that leave


def test_a_run_whose_client_leaves_ends_after_a_time_of_grace(start: Starter) -> None:
    door = open_door(start, grace=0.3)
    for path in (RUN, f"{RUN}/stream"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{door.url}{path}",
                json=arguments(prompt="slow 30", num_layers=3 if path == RUN else 4),
                headers={"Authorization": f"Key {KEY}"},
                timeout=1,
                trust_env=False,
            )
        wait_for(lambda: door.listed()[0]["status_code"] == 499, 5)


def test_a_run_that_a_remote_service_has_goes_on_without_its_client(start: Starter) -> None:
    """It may be paid for already; an equal post meets it."""
    door = open_door(start, grace=0.2)
    with pytest.raises(httpx.ReadTimeout):
        door.http.post(RUN, json=arguments(prompt="held 2.5"), timeout=1)
    time.sleep(0.6)
    assert door.run(prompt="held 2.5").status_code == 200
    assert [each["status_code"] for each in door.listed()] == [200]


def test_a_client_that_comes_back_in_time_gets_the_result(door: Door) -> None:
    """JavaScript's client posts again after 300 seconds."""
    with pytest.raises(httpx.ReadTimeout):
        door.http.post(RUN, json=arguments(prompt="slow 1.25"), timeout=0.5)
    assert door.run(prompt="slow 1.25").status_code == 200
    assert len(asked_with(door, "slow 1.25")) == 1


def test_a_submitted_request_needs_nobody(start: Starter) -> None:
    door = open_door(start, grace=0.1)
    request = door.submit(prompt="slow 0.8")
    door.http.close()
    again = Door(door.bridge, door.told)
    again.wait(request)
    assert again.result(request).status_code == 200


# Cancelling


def test_cancel_in_all_its_answers(door: Door) -> None:
    running = door.submit(prompt="slow 20")
    door.wait(running, "IN_PROGRESS")
    waiting = door.submit(prompt="slow 21")
    for request in (waiting, running):
        answer = cancel(door, request)
        assert (answer.status_code, answer.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
        door.wait(request)
        answer = cancel(door, request)
        assert (answer.status_code, answer.json()) == (400, {"status": "ALREADY_COMPLETED"})
    answer = cancel(door, "nonsense")
    assert (answer.status_code, answer.json()) == (404, {"status": "NOT_FOUND"})


def test_a_deaf_splitter_is_ended_and_the_next_request_runs(door: Door) -> None:
    request = door.submit(prompt="deaf 60")
    door.wait(request, "IN_PROGRESS")
    waiting = door.submit()
    assert cancel(door, request).status_code == 202
    door.wait(waiting)
    assert door.result(waiting).status_code == 200
    assert door.result(request).status_code == 499


# Time to start


def test_a_request_that_does_not_begin_in_time_is_over(door: Door) -> None:
    first = door.submit(prompt="slow 20")
    door.wait(first, "IN_PROGRESS")
    late = door.submit(seed=1, headers={"X-Fal-Request-Timeout": "1"})
    answer = door.run(seed=2, headers={"X-Fal-Request-Timeout": "1"})
    assert (answer.status_code, answer.json()["error_type"]) == (504, "request_timeout")
    assert answer.headers["x-fal-request-timeout-type"] == "user"
    assert door.wait(late)["error_type"] == "request_timeout"
    assert door.result(late).status_code == 504
    cancel(door, first)


def test_a_request_that_has_begun_may_take_its_time(door: Door) -> None:
    assert door.run(prompt="slow 1.6", headers={"X-Fal-Request-Timeout": "1.1"}).status_code == 200


@pytest.mark.parametrize("given", ["0", "0.5", "-3", "soon", "inf", "nan"])
def test_a_time_to_start_that_is_none(door: Door, given: str) -> None:
    answer = door.run(headers={"X-Fal-Request-Timeout": given})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["header", "X-Fal-Request-Timeout"])


# Through a restart


def test_a_kill_loses_no_submitted_request(start: Starter) -> None:
    """Written down before it was answered, so that even the one in the middle is run again."""
    door = open_door(start, fal={"port": 0})
    done = door.submit(seed=1)
    door.wait(done)
    before = door.result(done).json()
    running = door.submit(prompt="slow 1", seed=2)
    door.wait(running, "IN_PROGRESS")
    waiting = [door.submit(seed=seed) for seed in range(3, 8)]
    door.bridge.process.kill()
    door.bridge.process.wait()
    again = open_door(start, fal={"port": door.port})
    for request in [running, *waiting]:
        again.wait(request)
        assert len(again.result(request).json()["images"]) == 4
    after = again.result(done).json()
    assert after == before, "addresses of results live on"
    for image in after["images"]:
        assert again.http.get(image["url"]).status_code == 200
    assert len(again.listed()) == 7


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15])
def test_a_kill_at_any_moment_loses_no_request_that_was_answered(start: Starter, delay: float) -> None:
    door = open_door(start)
    requests = [door.submit(seed=seed) for seed in range(3)]
    time.sleep(delay)
    door.bridge.process.kill()
    door.bridge.process.wait()
    again = open_door(start)
    for request in requests:
        again.wait(request)
        for image in again.result(request).json()["images"]:
            assert len(again.http.get(image["url"].replace(door.url, again.url)).content) == image["file_size"]


def test_an_orderly_end_leaves_requests_to_the_next_bridge(start: Starter) -> None:
    door = open_door(start, drain=0.1)
    running = door.submit(prompt="slow 1.5", seed=1)
    door.wait(running, "IN_PROGRESS")
    waiting = door.submit(seed=2)
    assert door.bridge.stop() == 0
    again = open_door(start)
    for request in (running, waiting):
        again.wait(request)
        assert again.result(request).status_code == 200


def test_requests_wait_for_a_door_that_is_opened_later(start: Starter) -> None:
    """Krita may have started the next bridge, which opens no door by itself."""
    door = open_door(start)
    running = door.submit(prompt="slow 1", seed=1)
    door.wait(running, "IN_PROGRESS")
    waiting = door.submit(seed=2)
    door.bridge.process.kill()
    door.bridge.process.wait()
    bridge = start(environment={VARIABLE: KEY})
    wait_for(lambda: f"job {running.replace('-', '')} done" in bridge.log)
    again = Door(bridge, ask(bridge, {"backend": "trial"}))
    for request in (running, waiting):
        again.wait(request)
        for image in again.result(request).json()["images"]:
            assert again.http.get(image["url"]).status_code == 200


def test_a_request_that_may_not_be_tried_again_is_not(start: Starter) -> None:
    door = open_door(start)
    request = door.submit(prompt="slow 20", headers={"X-Fal-No-Retry": "1"})
    door.wait(request, "IN_PROGRESS")
    door.bridge.process.kill()
    door.bridge.process.wait()
    again = open_door(start)
    told = again.wait(request)
    assert told["error_type"] == "runner_server_error"
    assert again.result(request).status_code == 500, "never 503: clients would ask for it for ever"


def test_uploads_live_through_a_restart(start: Starter) -> None:
    door = open_door(start)
    url = uploaded(door, png())
    door.bridge.stop()
    again = open_door(start)
    url = url.replace(door.url, again.url)
    assert again.http.get(url).content == png()
    assert again.run(image_url=url).status_code == 200


# The list of requests


def test_a_lost_id_is_found_again(own_door: Door) -> None:
    running = own_door.submit(prompt="slow 20", seed=1)
    own_door.wait(running, "IN_PROGRESS")
    waiting = own_door.submit(seed=2)
    wait_for(lambda: own_door.listed(status="in_progress")[0]["started_at"])  # told from the first step on
    told = {each["request_id"]: each for each in own_door.listed(expand="payloads")}
    assert set(told) == {running, waiting}
    assert told[running]["json_input"]["seed"] == 1 and told[running]["started_at"]
    for each in told.values():
        assert each["ended_at"] is each["status_code"] is each["duration"] is None
        assert each["endpoint_id"] == ENDPOINT
    assert [each["request_id"] for each in own_door.listed(status="queued")] == [waiting]
    assert [each["request_id"] for each in own_door.listed(status="in_progress")] == [running]
    cancel(own_door, running)
    own_door.wait(waiting)
    [found] = own_door.listed(request_id=waiting, expand="payloads")
    assert found["status_code"] == 200 and found["duration"] > 0
    assert found["json_output"] == own_door.result(waiting).json()
    [cancelled] = own_door.listed(status="user_error")
    assert (cancelled["request_id"], cancelled["status_code"]) == (running, 499)
    assert "json_input" not in own_door.listed(request_id=waiting)[0]


def test_the_list_in_pages(own_door: Door) -> None:
    requests = [own_door.submit(num_layers=0, seed=seed) for seed in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"endpoint_id": ENDPOINT, "limit": 2}
    while True:
        page = own_door.http.get(PLATFORM, params=query).json()
        seen += [each["request_id"] for each in page["items"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == requests[::-1]


def test_the_list_between_two_moments(own_door: Door) -> None:
    own_door.submit(num_layers=0)
    now = time.time()
    hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3600))
    next_hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 3600))
    assert len(own_door.listed(start=hour, end=next_hour)) == 1
    assert own_door.listed(end=hour) == []
    assert own_door.listed(start=next_hour) == []
    for query in ({"start": "yesterday"}, {"cursor": "nonsense"}, {"limit": 0}, {"limit": 101}, {"status": "x"}):
        assert own_door.http.get(PLATFORM, params={"endpoint_id": ENDPOINT, **query}).status_code == 422
    assert own_door.http.get(PLATFORM).status_code == 422
    other = own_door.http.get(PLATFORM, params={"endpoint_id": "fal-ai/flux"}).json()
    assert other == {"items": [], "next_cursor": None, "has_more": False}


def test_sync_mode_keeps_the_output_out_of_the_list(own_door: Door) -> None:
    request = own_door.submit(sync_mode=True)
    own_door.wait(request)
    assert "json_output" not in own_door.listed(expand="payloads")[0]
    assert own_door.result(request).json()["images"][0]["url"].startswith("data:image/png;base64,")


def test_store_io_0_keeps_what_was_asked_out_of_everything(own_door: Door) -> None:
    request = own_door.submit(prompt="my-secret", headers={"X-Fal-Store-IO": "0"})
    own_door.wait(request)
    [told] = own_door.listed(expand="payloads")
    assert told["request_id"] == request and "json_input" not in told and "json_output" not in told
    assert own_door.result(request).json()["prompt"] == "my-secret", "its client still gets it"
    own_door.bridge.stop()
    for path in own_door.bridge.data.rglob("*"):
        assert not path.is_file() or b"my-secret" not in path.read_bytes(), path


def test_krita_s_jobs_are_not_the_door_s(own_door: Door) -> None:
    from tests.unit.trial.client import noise

    with own_door.bridge.client() as client:
        job = client.start(noise(32, 24))
        client.finish(job)
    assert own_door.listed() == []
    assert own_door.http.get(f"{QUEUE}/requests/{job}").status_code == 404
    assert cancel(own_door, job).status_code == 404


# Expiry


def test_what_is_to_be_kept_shortly_is_erased_from_the_disk(start: Starter) -> None:
    door = open_door(start)
    kept = door.submit(seed=1)
    short = door.submit(
        seed=2, headers={"X-Fal-Object-Lifecycle-Preference": json.dumps({"expiration_duration_seconds": 2})}
    )
    for request in (kept, short):
        door.wait(request)
    url = door.result(short).json()["images"][0]["url"]
    assert door.http.get(url).status_code == 200
    wait_for(lambda: door.http.get(url).status_code == 404, 5)
    assert door.http.get(door.result(kept).json()["images"][0]["url"]).status_code == 200
    door.bridge.stop()
    again = open_door(start)
    folder = again.bridge.data / "jobs" / short.replace("-", "")
    wait_for(lambda: not folder.exists(), 10)
    assert again.result(short).status_code == 404
    assert again.result(kept).status_code == 200


@pytest.mark.parametrize(
    "given", ["soon", "[]", "{", '{"expiration_duration_seconds": -1}', '{"expiration_duration_seconds": "x"}']
)
def test_a_lifecycle_that_is_none(door: Door, given: str) -> None:
    answer = door.run(headers={"X-Fal-Object-Lifecycle-Preference": given})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "X-Fal-Object-Lifecycle-Preference"]


# Uploads


def test_an_announced_upload_comes_once(door: Door) -> None:
    announced = door.http.post(
        "/rest/storage/upload/initiate", json={"content_type": "image/png", "file_name": "a.png"}
    ).json()
    assert door.http.get(announced["file_url"]).status_code == 404
    bare = httpx.Client(trust_env=False)
    assert bare.put(announced["upload_url"], content=png()).status_code == 200
    assert bare.put(announced["upload_url"], content=png(seed=2)).status_code == 404
    assert bare.get(announced["file_url"]).content == png()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a b/ç.png", "a-b-.png"),
        ("", "file"),
        ("..", "file"),
        ("x" * 300, "x" * 80),
    ],
)
def test_a_file_name_that_could_be_taken_amiss(door: Door, name: str, kept: str) -> None:
    announced = door.http.post("/rest/storage/upload/initiate", json={"file_name": name}).json()
    assert announced["file_url"].rsplit("/", 1)[1] == kept


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/javascript", ""])
def test_no_upload_is_served_as_something_that_runs(door: Door, kind: str) -> None:
    url = uploaded(door, b"<script>alert(1)</script>", **{"Content-Type": kind})
    answer = door.http.get(url)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_upload_that_breaks_off_leaves_nothing(own_door: Door) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield b"a" * 100_000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        own_door.http.post(UPLOAD, content=broken())
    folder = Path(own_door.bridge.data) / "fal-uploads"
    wait_for(lambda: not list(folder.iterdir()))


def test_parts_are_refused_in_words(door: Door) -> None:
    for path in ("/rest/storage/upload/initiate-multipart", "/media/files/upload/multipart"):
        answer = door.http.post(path)
        assert (answer.status_code, answer.json()["error_type"]) == (413, "file_too_large")


# Streams


def test_the_status_stream_tells_each_line_once_and_ends(door: Door) -> None:
    request = door.submit(prompt="slow 0.5", seed=77)
    with door.http.stream("GET", f"{QUEUE}/requests/{request}/status/stream", params={"logs": 1}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1]["status"] == "COMPLETED" and all(each["status"] != "COMPLETED" for each in events[:-1])
    messages = [line["message"] for event in events for line in event.get("logs", [])]
    assert messages == [line["message"] for line in door.status(request)["logs"]]


def test_a_stream_of_what_is_over_tells_so_at_once(door: Door) -> None:
    request = door.submit(num_layers=0)
    with door.http.stream("GET", f"{QUEUE}/requests/{request}/status/stream", params={"logs": 1}) as answer:
        [event] = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert (event["status"], event["error_type"]) == ("COMPLETED", "greater_than_equal")


def test_hundreds_of_waiting_clients(door: Door) -> None:
    """One request, and two hundred that wait for it in every way; the door still answers."""
    request = door.submit(prompt="slow 2.25")

    async def wait() -> list[int]:
        headers = {"Authorization": f"Key {KEY}"}
        limits = httpx.Limits(max_connections=250)
        async with httpx.AsyncClient(
            base_url=door.url, headers=headers, timeout=30, limits=limits, trust_env=False
        ) as http:
            runs = [http.post(RUN, json=arguments(prompt="slow 2.25")) for _ in range(100)]
            streams = [http.get(f"{QUEUE}/requests/{request}/status/stream") for _ in range(100)]
            return [answer.status_code for answer in await asyncio.gather(*runs, *streams)]

    assert set(asyncio.run(wait())) == {200}
    assert len(asked_with(door, "slow 2.25")) == 1
