"""What becomes of requests: met by equal ones, kept through a restart, listed, cancelled, left, erased."""

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.jobs.engine import MOST_WAITING
from bridge.server.fal.keys import VARIABLE
from tests.unit.trial.backends import notes
from tests.unit.trial.fal_api import (
    KEY,
    QUEUE,
    RUN,
    Api,
    arguments,
    ask,
    data_uri,
    open_api,
    png,
)
from tests.unit.trial.running import Starter, wait_for

UPLOAD = "/media/files/upload"


def uploaded(api: Api, content: bytes, **headers: str) -> str:
    return api.http.post(UPLOAD, content=content, headers=headers).json()["access_url"]


def cancel(api: Api, request: str) -> httpx.Response:
    return api.http.put(f"{QUEUE}/requests/{request}/cancel")


def asked_with(api: Api, prompt: str) -> list[dict[str, Any]]:
    """The requests of that prompt."""
    listed = api.listed(expand="payloads", limit=100)
    return [each for each in listed if each.get("json_input", {}).get("prompt") == prompt]


# The queue's answers


def test_submit_tells_all_that_clients_go_on_with(api: Api) -> None:
    answer = api.http.post(QUEUE, json=arguments())
    told = answer.json()
    base = f"{api.url}{QUEUE}/requests/{told['request_id']}"
    urls = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
    assert told == {"status": "IN_QUEUE", "request_id": told["request_id"], "queue_position": 0, **urls}
    assert answer.headers["x-fal-request-id"] == told["request_id"]
    api.wait(told["request_id"])


def test_status_is_202_until_it_is_complete(api: Api) -> None:
    request = api.submit(prompt="slow 0.5")
    url = f"{QUEUE}/requests/{request}/status"
    codes = set[int]()
    while (answer := api.http.get(url)).json()["status"] != "COMPLETED":
        codes.add(answer.status_code)
        assert answer.json()["status"] in ("IN_QUEUE", "IN_PROGRESS")
        assert ("queue_position" in answer.json()) == (answer.json()["status"] == "IN_QUEUE")
        time.sleep(0.02)
    assert (codes, answer.status_code) == ({202}, 200)


@pytest.mark.parametrize(
    ("asked", "told"), [("1", True), ("true", True), ("True", True), ("0", False), ("False", False)]
)
def test_logs_are_asked_for_in_both_clients_words(api: Api, asked: str, told: bool) -> None:
    request = api.submit()
    api.wait(request)
    logs = api.http.get(f"{QUEUE}/requests/{request}/status", params={"logs": asked}).json()["logs"]
    assert bool(logs) == told


def test_the_result_lies_under_response_too(api: Api) -> None:
    request = api.submit()
    api.wait(request)
    assert api.http.get(f"{QUEUE}/requests/{request}/response").json() == api.result(request).json()


def test_no_redirects_and_no_content_type_needed(api: Api) -> None:
    body = json.dumps(arguments()).encode()
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-8"}):
        assert api.http.post(RUN, content=body, headers=headers).status_code == 200
    assert api.http.post(f"{RUN}/", content=body).status_code == 404
    assert api.http.post(RUN, content=body.decode().encode("utf-16")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"null", b'"a"', b"\xff\xfe", b"[" * 100_000, b'{"image_url": 1}'])
def test_what_is_no_input_is_told_so(api: Api, body: bytes) -> None:
    answer = api.http.post(RUN, content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**63, 10**30])
def test_any_whole_number_is_a_seed_and_comes_back(api: Api, seed: int) -> None:
    assert api.run(seed=seed).json()["seed"] == seed


def test_a_drawn_seed_gives_the_same_again(api: Api) -> None:
    first = api.run().json()["seed"]
    assert 0 <= first < 2**31
    assert api.run(seed=first).json()["seed"] == first


# Equal requests


def test_equal_posts_meet_the_same_request(api: Api) -> None:
    given = {"prompt": "slow 1", "seed": 5}
    assert api.submit(**given) == api.submit(**given)
    assert api.submit(**given) == api.submit(**{"num_layers": 4, **given}), "a default that is said"
    others = [{**given, "seed": 6}, {**given, "image_url": data_uri(png(seed=2))}, {**given, "output_format": "webp"}]
    assert len({api.submit(**given), *(api.submit(**each) for each in others)}) == 4


def test_the_same_picture_in_another_way_is_an_equal_post(api: Api) -> None:
    first = api.submit(prompt="slow 1")
    assert api.submit(prompt="slow 1", image_url=uploaded(api, png())) == first
    assert api.submit(prompt="slow 1", image_url=uploaded(api, png())) == first


def test_two_equal_runs_get_the_same_result_of_one_job(api: Api) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.run(prompt="slow 0.55"), range(4)))
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["x-fal-request-id"] for answer in answers}) == 1
    assert len(asked_with(api, "slow 0.55")) == 1


def test_after_its_end_an_equal_post_is_a_new_request(api: Api) -> None:
    first = api.submit()
    api.wait(first)
    assert api.submit() != first


def test_a_submit_that_meets_a_run_keeps_it_going_when_the_run_s_client_leaves(start: Starter) -> None:
    api = open_api(start, grace=0.3)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{api.url}{RUN}",
            json=arguments(prompt="slow 1.5"),
            headers={"Authorization": f"Key {KEY}"},
            timeout=0.8,
            trust_env=False,
        )
    request = api.submit(prompt="slow 1.5")
    api.wait(request)
    assert api.result(request).status_code == 200


def test_an_equal_post_does_not_meet_a_request_that_is_being_cancelled(api: Api) -> None:
    first = api.submit(prompt="deaf 1.3")
    api.wait(first, "IN_PROGRESS")
    assert cancel(api, first).status_code == 202
    second = api.submit(prompt="deaf 1.3")
    assert second != first
    api.wait(second)
    assert (api.result(first).status_code, api.result(second).status_code) == (499, 200)


def test_an_equal_post_that_may_be_kept_otherwise_is_another_request(api: Api) -> None:
    first = api.submit(prompt="slow 1.1")
    assert api.submit(prompt="slow 1.1", headers={"X-Fal-Store-IO": "0"}) != first
    short = {"X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 60}'}
    assert api.submit(prompt="slow 1.1", headers=short) != first


def test_of_two_equal_posts_the_more_patient_one_counts(api: Api) -> None:
    first = api.submit(prompt="slow 1.6", seed=31)
    api.wait(first, "IN_PROGRESS")
    hasty = api.submit(seed=32, headers={"X-Fal-Request-Timeout": "1"})
    assert api.submit(seed=32) == hasty
    assert "error" not in api.wait(hasty)
    assert api.result(hasty).status_code == 200


def test_more_than_may_wait_are_turned_away_and_the_rest_stays(start: Starter) -> None:
    api = open_api(start, drain=0.1)
    first = api.submit(prompt="slow 60")
    api.wait(first, "IN_PROGRESS")
    with ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(api.http.post, QUEUE, json=arguments(seed=seed)) for seed in range(MOST_WAITING + 5)]
        answers = [each.result() for each in posts]
    refused = [each for each in answers if each.status_code != 200]
    assert len(refused) == 5
    assert {(each.status_code, each.json()["error_type"]) for each in refused} == {(429, "too_many_requests")}
    assert {each.headers["x-fal-retryable"] for each in refused} == {"true"}
    assert api.status(first)["status"] == "IN_PROGRESS"


# Clients that leave


def test_a_run_whose_client_leaves_ends_after_a_time_of_grace(start: Starter) -> None:
    api = open_api(start, grace=0.3)
    for path in (RUN, f"{RUN}/stream"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{api.url}{path}",
                json=arguments(prompt="slow 30", num_layers=3 if path == RUN else 4),
                headers={"Authorization": f"Key {KEY}"},
                timeout=1,
                trust_env=False,
            )
        wait_for(lambda: api.listed()[0]["status_code"] == 499, 5)


def test_a_run_that_a_remote_service_has_goes_on_without_its_client(start: Starter, tmp_path: Path) -> None:
    """It may be paid for already; an equal post meets it."""
    (tmp_path / "data").mkdir()
    preferred = {"remote_allowed": True, "backends": {"elsewhere": {"seconds": 2.5}}}
    (tmp_path / "data" / "preferences.json").write_text(json.dumps(preferred))
    api = open_api(start, grace=0.2, fal={"backend": "elsewhere"})
    body = json.dumps(arguments()).encode()
    head = f"POST {RUN} HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\nAuthorization: Key {KEY}\r\n"
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: notes(api.bridge.data, "ordered"))
    time.sleep(0.6)
    assert api.run().status_code == 200
    assert len(notes(api.bridge.data, "ordered")) == 1
    assert [each["status_code"] for each in api.listed()] == [200]


def test_a_client_that_comes_back_in_time_gets_the_result(api: Api) -> None:
    """JavaScript's client posts again after 300 seconds."""
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(RUN, json=arguments(prompt="slow 1.25"), timeout=0.5)
    assert api.run(prompt="slow 1.25").status_code == 200
    assert len(asked_with(api, "slow 1.25")) == 1


def test_a_submitted_request_needs_nobody(start: Starter) -> None:
    api = open_api(start, grace=0.1)
    request = api.submit(prompt="slow 0.8")
    api.http.close()
    again = Api(api.bridge, api.told)
    again.wait(request)
    assert again.result(request).status_code == 200


# Cancelling


def test_cancel_in_all_its_answers(api: Api) -> None:
    running = api.submit(prompt="slow 20")
    api.wait(running, "IN_PROGRESS")
    waiting = api.submit(prompt="slow 21")
    for request in (waiting, running):
        answer = cancel(api, request)
        assert (answer.status_code, answer.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
        api.wait(request)
        answer = cancel(api, request)
        assert (answer.status_code, answer.json()) == (400, {"status": "ALREADY_COMPLETED"})
    answer = cancel(api, "nonsense")
    assert (answer.status_code, answer.json()) == (404, {"status": "NOT_FOUND"})


def test_a_deaf_splitter_is_ended_and_the_next_request_runs(api: Api) -> None:
    request = api.submit(prompt="deaf 60")
    api.wait(request, "IN_PROGRESS")
    waiting = api.submit()
    assert cancel(api, request).status_code == 202
    api.wait(waiting)
    assert api.result(waiting).status_code == 200
    assert api.result(request).status_code == 499


# Time to start


def test_a_request_that_does_not_begin_in_time_is_over(api: Api) -> None:
    first = api.submit(prompt="slow 20")
    api.wait(first, "IN_PROGRESS")
    late = api.submit(seed=1, headers={"X-Fal-Request-Timeout": "1"})
    answer = api.run(seed=2, headers={"X-Fal-Request-Timeout": "1"})
    assert (answer.status_code, answer.json()["error_type"]) == (504, "request_timeout")
    assert answer.headers["x-fal-request-timeout-type"] == "user"
    assert api.wait(late)["error_type"] == "request_timeout"
    assert api.result(late).status_code == 504
    cancel(api, first)


def test_a_request_that_has_begun_may_take_its_time(api: Api) -> None:
    assert api.run(prompt="slow 1.6", headers={"X-Fal-Request-Timeout": "1.1"}).status_code == 200


@pytest.mark.parametrize("given", ["0", "0.5", "-3", "soon", "inf", "nan"])
def test_a_time_to_start_that_is_none(api: Api, given: str) -> None:
    answer = api.run(headers={"X-Fal-Request-Timeout": given})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["header", "X-Fal-Request-Timeout"])


# Through a restart


def test_a_kill_loses_no_submitted_request(start: Starter) -> None:
    """Written down before it was answered, so that even the one in the middle is run again."""
    api = open_api(start, fal={"port": 0})
    done = api.submit(seed=1)
    api.wait(done)
    before = api.result(done).json()
    running = api.submit(prompt="slow 1", seed=2)
    api.wait(running, "IN_PROGRESS")
    waiting = [api.submit(seed=seed) for seed in range(3, 8)]
    api.bridge.process.kill()
    api.bridge.process.wait()
    again = open_api(start, fal={"port": api.port})
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
    api = open_api(start)
    requests = [api.submit(seed=seed) for seed in range(3)]
    time.sleep(delay)
    api.bridge.process.kill()
    api.bridge.process.wait()
    again = open_api(start)
    for request in requests:
        again.wait(request)
        for image in again.result(request).json()["images"]:
            assert len(again.http.get(image["url"].replace(api.url, again.url)).content) == image["file_size"]


def test_an_orderly_end_leaves_requests_to_the_next_bridge(start: Starter) -> None:
    api = open_api(start, drain=0.1)
    running = api.submit(prompt="slow 1.5", seed=1)
    api.wait(running, "IN_PROGRESS")
    waiting = api.submit(seed=2)
    assert api.bridge.stop() == 0
    again = open_api(start)
    for request in (running, waiting):
        again.wait(request)
        assert again.result(request).status_code == 200


def test_requests_wait_for_an_api_that_is_opened_later(start: Starter) -> None:
    """Krita may have started the next bridge, which does not open the API by itself."""
    api = open_api(start)
    running = api.submit(prompt="slow 1", seed=1)
    api.wait(running, "IN_PROGRESS")
    waiting = api.submit(seed=2)
    api.bridge.process.kill()
    api.bridge.process.wait()
    bridge = start(environment={VARIABLE: KEY})
    wait_for(lambda: f"job {running.replace('-', '')} done" in bridge.log)
    again = Api(bridge, ask(bridge, {"backend": "trial"}))
    for request in (running, waiting):
        again.wait(request)
        for image in again.result(request).json()["images"]:
            assert again.http.get(image["url"]).status_code == 200


def test_a_request_that_may_not_be_tried_again_is_not(start: Starter) -> None:
    api = open_api(start)
    request = api.submit(prompt="slow 20", headers={"X-Fal-No-Retry": "1"})
    api.wait(request, "IN_PROGRESS")
    api.bridge.process.kill()
    api.bridge.process.wait()
    again = open_api(start)
    told = again.wait(request)
    assert told["error_type"] == "runner_server_error"
    assert again.result(request).status_code == 500, "never 503: clients would ask for it for ever"


def test_uploads_live_through_a_restart(start: Starter) -> None:
    api = open_api(start)
    url = uploaded(api, png())
    api.bridge.stop()
    again = open_api(start)
    url = url.replace(api.url, again.url)
    assert again.http.get(url).content == png()
    assert again.run(image_url=url).status_code == 200


# Uploads


def test_an_announced_upload_comes_once(api: Api) -> None:
    announced = api.http.post(
        "/rest/storage/upload/initiate", json={"content_type": "image/png", "file_name": "a.png"}
    ).json()
    assert api.http.get(announced["file_url"]).status_code == 404
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
def test_a_file_name_that_could_be_taken_amiss(api: Api, name: str, kept: str) -> None:
    announced = api.http.post("/rest/storage/upload/initiate", json={"file_name": name}).json()
    assert announced["file_url"].rsplit("/", 1)[1] == kept


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/javascript", ""])
def test_no_upload_is_served_as_something_that_runs(api: Api, kind: str) -> None:
    url = uploaded(api, b"<script>alert(1)</script>", **{"Content-Type": kind})
    answer = api.http.get(url)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_upload_that_breaks_off_leaves_nothing(own_api: Api) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield b"a" * 100_000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        own_api.http.post(UPLOAD, content=broken())
    folder = Path(own_api.bridge.data) / "fal-uploads"
    wait_for(lambda: not list(folder.iterdir()))


def test_parts_are_refused_in_words(api: Api) -> None:
    for path in ("/rest/storage/upload/initiate-multipart", "/media/files/upload/multipart"):
        answer = api.http.post(path)
        assert (answer.status_code, answer.json()["error_type"]) == (413, "file_too_large")


# Streams


def test_the_status_stream_tells_each_line_once_and_ends(api: Api) -> None:
    request = api.submit(prompt="slow 0.5", seed=77)
    with api.http.stream("GET", f"{QUEUE}/requests/{request}/status/stream", params={"logs": 1}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1]["status"] == "COMPLETED" and all(each["status"] != "COMPLETED" for each in events[:-1])
    messages = [line["message"] for event in events for line in event.get("logs", [])]
    assert messages == [line["message"] for line in api.status(request)["logs"]]


def test_a_stream_of_what_is_over_tells_so_at_once(api: Api) -> None:
    request = api.submit(num_layers=0)
    with api.http.stream("GET", f"{QUEUE}/requests/{request}/status/stream", params={"logs": 1}) as answer:
        [event] = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert (event["status"], event["error_type"]) == ("COMPLETED", "greater_than_equal")


def test_hundreds_of_waiting_clients(api: Api) -> None:
    """One request, and two hundred that wait for it in every way; the API still answers."""
    request = api.submit(prompt="slow 8")

    async def wait() -> list[int]:
        headers = {"Authorization": f"Key {KEY}"}
        limits = httpx.Limits(max_connections=250)
        async with httpx.AsyncClient(
            base_url=api.url, headers=headers, timeout=30, limits=limits, trust_env=False
        ) as http:
            runs = [http.post(RUN, json=arguments(prompt="slow 8")) for _ in range(100)]
            streams = [http.get(f"{QUEUE}/requests/{request}/status/stream") for _ in range(100)]
            return [answer.status_code for answer in await asyncio.gather(*runs, *streams)]

    assert set(asyncio.run(wait())) == {200}
    assert len(asked_with(api, "slow 8")) == 1
