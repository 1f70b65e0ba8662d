"""The guard's promises at the fal api, each against an open one."""

import http.client
import ipaddress
import json
import os
import socket
import ssl
import subprocess
from pathlib import Path

import psutil
import pytest

from bridge.server import auth
from bridge.server.fal import keys
from bridge.server.fal.hosts import JS_PROXY
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.fal_api import ENDPOINT, KEY, PLATFORM, QUEUE, RUN, Api, ask, data_uri, huge, open_api, png
from tests.unit.trial.running import Bridge, Starter, wait_for

REQUEST = f"{QUEUE}/requests/00000000-0000-4000-8000-000000000000"
ROUTES = [
    ("POST", f"/{ENDPOINT}"),
    ("POST", RUN),
    ("POST", f"{RUN}/stream"),
    ("POST", QUEUE),
    ("GET", REQUEST),
    ("GET", f"{REQUEST}/response"),
    ("GET", f"{REQUEST}/status"),
    ("GET", f"{REQUEST}/status/stream"),
    ("PUT", f"{REQUEST}/cancel"),
    ("POST", "/rest/storage/auth/token"),
    ("POST", "/rest/storage/upload/initiate"),
    ("POST", "/rest/storage/upload/initiate-multipart"),
    ("POST", "/media/files/upload"),
    ("POST", "/media/files/upload/multipart"),
    ("GET", PLATFORM),
    ("GET", "/openapi.json"),
    ("GET", "/api/openapi/queue/openapi.json"),
    ("POST", JS_PROXY),
    ("GET", "/"),
    ("GET", "/docs"),
]
every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
Headers = list[tuple[str, str]]


def knock(api: Api, method: str, path: str, headers: Headers, *, secure: bool = False) -> tuple[int, dict[str, str]]:
    """One bare HTTP request with exactly these headers; status and, of a refusal, what it says."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    if secure:
        context = ssl.create_default_context(cafile=api.told["authority"])
        connection = http.client.HTTPSConnection("127.0.0.1", api.port, timeout=10, context=context)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode("latin-1")
    assert response.getheader("x-fal-request-id") or response.status == 400, "an answer without a request id"
    assert not [name for name, _ in response.getheaders() if name.lower().startswith("access-control")]
    connection.close()
    return response.status, json.loads(body) if body.startswith("{") else {}


def good(api: Api) -> Headers:
    return [("Host", f"127.0.0.1:{api.port}"), ("Authorization", f"Key {KEY}")]


# 1


def test_listens_on_127_0_0_1_alone(api: Api) -> None:
    process = psutil.Process(api.bridge.process.pid)
    listening = {tuple(each.laddr) for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", api.bridge.card.port), ("127.0.0.1", api.port)}


def test_no_other_address_of_this_computer_answers(api: Api) -> None:
    others = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not ipaddress.ip_address(address.address).is_loopback
    } | {"127.0.0.2"}
    for other in others:
        with pytest.raises(OSError), socket.create_connection((other, api.port), timeout=2):
            pass


def test_closed_until_asked_for(start: Starter) -> None:
    bridge = start(environment={keys.VARIABLE: KEY})
    process = psutil.Process(bridge.process.pid)
    listening = [each for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert len(listening) == 1
    assert ask(bridge) == {"open": False, "key": None}
    told = ask(bridge, {"port": 0, "backend": "trial"})
    assert told["open"] and told["key"] == KEY and told["backend"] == "trial"
    assert knock(Api(bridge, told), "GET", PLATFORM, good(Api(bridge, told)))[0] == 422
    assert ask(bridge, {})["port"] == told["port"], "a second call opens nothing new"


# 2


@every_route
def test_every_route_wants_the_key(api: Api, route: tuple[str, str]) -> None:
    method, path = route
    host = [("Host", f"127.0.0.1:{api.port}")]
    wrong = KEY[:-1] + "0"
    attempts: list[tuple[str, Headers]] = [
        (path, host),
        (path, [*host, ("Authorization", "")]),
        (path, [*host, ("Authorization", KEY)]),
        (path, [*host, ("Authorization", f"Basic {KEY}")]),
        (path, [*host, ("Authorization", f"Key {wrong}")]),
        (path, [*host, ("Authorization", f"Key {KEY[:32]}")]),
        (path, [*host, ("Authorization", f"Key {KEY} ,")]),
        (path, [*host, ("Authorization", f"Key {wrong}"), ("Authorization", f"Key {KEY}")]),
        (path, [*host, ("Authorization", f"Bearer {api.bridge.card.token}")]),
        (path, [*host, ("Cookie", f"key={KEY}"), ("X-Api-Key", KEY)]),
        (f"{path}?key={KEY}&fal_key={KEY}", host),
    ]
    for address, headers in attempts:
        status, told = knock(api, method, address, headers)
        assert (status, told["error_type"]) == (401, "unauthorized"), headers
        assert told["detail"] and KEY not in json.dumps(told)


@pytest.mark.parametrize("scheme", ["Key", "key", "Bearer"])
def test_the_key_opens_in_both_clients_words(api: Api, scheme: str) -> None:
    headers = [("Host", f"127.0.0.1:{api.port}"), ("Authorization", f"{scheme} {KEY}")]
    assert knock(api, "GET", f"{PLATFORM}?endpoint_id={ENDPOINT}", headers)[0] == 200


def test_the_key_does_not_open_krita_s_routes(api: Api) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.bridge.card.port, timeout=10)
    connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {KEY}"})
    assert connection.getresponse().status == 401


def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def spy(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return False

    monkeypatch.setattr(auth.hmac, "compare_digest", spy)
    assert not keys.Keys(KEY).admits({"method": "POST", "path": RUN}, f"Key {KEY}")
    assert compared == [(KEY.encode(), KEY.encode())]


def test_an_upload_token_uploads_and_nothing_else(api: Api) -> None:
    token = api.http.post("/rest/storage/auth/token", params={"storage_type": "fal-cdn-v3"}).json()
    assert (token["token_type"], token["base_url"]) == ("Bearer", f"{api.url}/media")
    mine = {"Authorization": f"Bearer {token['token']}", "X-Fal-File-Name": "a.png"}
    assert api.http.post("/media/files/upload", content=png(), headers=mine).status_code == 200
    for method, path in [("POST", RUN), ("GET", REQUEST), ("POST", "/rest/storage/auth/token")]:
        assert api.http.request(method, path, headers=mine).status_code == 401


# 3


@every_route
def test_another_host_is_refused_even_with_the_key(api: Api, route: tuple[str, str]) -> None:
    port = api.port
    bad = ["127.0.0.1", "localhost", f"127.0.0.1:{port + 1}", f"127.0.0.2:{port}", f"[::1]:{port}", "", "fal.run"]
    bad += [f"evil.example:{port}", f"localhost.evil.example:{port}", f"127.0.0.1:{port}.evil.example", "fal.run:443"]
    for host in bad:
        status, told = knock(api, *route, [("Host", host), ("Authorization", f"Key {KEY}")])
        assert (status, told["error_type"]) == (403, "wrong_host"), host


def test_fal_s_names_are_hosts_over_tls_alone(api: Api) -> None:
    key = ("Authorization", f"Key {KEY}")
    for host in ("api.fal.ai", "api.fal.ai:443", f"127.0.0.1:{api.port}", f"localhost:{api.port}"):
        path = PLATFORM if ":" in host and "fal" not in host else PLATFORM.removeprefix("/platform")
        assert knock(api, "GET", f"{path}?endpoint_id=x", [("Host", host), key], secure=True)[0] == 200, host
    for host in ("fal.ai", "evil.fal.run", f"fal.run:{api.port}"):
        assert knock(api, "GET", PLATFORM, [("Host", host), key], secure=True)[0] == 403, host


def test_two_hosts_or_none_are_refused(api: Api) -> None:
    assert knock(api, "GET", PLATFORM, [*good(api), ("Host", f"127.0.0.1:{api.port}")])[0] in (400, 403)
    assert knock(api, "GET", PLATFORM, good(api)[1:])[0] in (400, 403)


@every_route
def test_any_origin_is_refused_even_with_the_key(api: Api, route: tuple[str, str]) -> None:
    for origin in ("null", "", "https://evil.example", api.url, "https://fal.ai"):
        status, told = knock(api, *route, [*good(api), ("Origin", origin)])
        assert (status, told["error_type"]) == (403, "wrong_origin"), origin
    assert knock(api, "OPTIONS", route[1], [*good(api), ("Origin", "https://evil.example")])[0] == 403


def test_a_file_wants_its_name_and_no_key_but_the_right_host(api: Api) -> None:
    """Clients fetch results without a key. The name is the key: 256 bits of it."""
    url = api.run(num_layers=2).json()["images"][0]["url"]
    path = url.removeprefix(api.url)
    name = path.split("/")[3]
    assert len(name) == 43
    host = ("Host", f"127.0.0.1:{api.port}")
    assert knock(api, "GET", path, [host])[0] == 200
    assert knock(api, "HEAD", path, [host])[0] == 200
    assert knock(api, "GET", path, [("Host", "evil.example")])[0] == 403
    assert knock(api, "GET", path, [host, ("Origin", "null")])[0] == 403
    assert knock(api, "PUT", path, [host])[0] == 401
    other = ("A" if name[0] != "A" else "B") + name[1:]
    assert knock(api, "GET", path.replace(name, other), [host])[0] == 404
    assert knock(api, "GET", path.replace(name, name[:-1]), [host])[0] == 401
    answer = api.http.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "target",
    [
        None,
        "https://example.com/a",
        "http://fal.run/fal-ai/x",
        "https://fal.run:8443/x",
        "https://fal.run@evil.example/",
        "https://fal.run.evil.example/",
        "file:///etc/passwd",
        "https://127.0.0.1/",
        "/run",
        "",
    ],
)
def test_the_proxy_route_leads_to_fal_s_places_alone(api: Api, target: str | None) -> None:
    headers = good(api) if target is None else [*good(api), ("x-fal-target-url", target)]
    status, told = knock(api, "GET", JS_PROXY, headers)
    assert (status, told["error_type"]) == (403, "wrong_target")


def test_the_proxy_route_wants_one_target(api: Api) -> None:
    target = ("x-fal-target-url", f"https://api.fal.ai/v1/models/requests/by-endpoint?endpoint_id={ENDPOINT}")
    assert knock(api, "GET", JS_PROXY, [*good(api), target])[0] == 200
    assert knock(api, "GET", JS_PROXY, [*good(api), target, target])[0] == 403


# 6: what may come in


def test_a_body_that_is_too_large_is_refused_before_it_comes(api: Api) -> None:
    headers = [*good(api), ("Content-Length", str(40 * 2**20))]
    status, told = knock(api, "POST", RUN, headers)
    assert (status, told["error_type"]) == (413, "file_too_large")
    headers = [*good(api), ("Content-Length", str(101 * 2**20))]
    assert knock(api, "POST", "/media/files/upload", headers)[0] == 413


def test_a_body_that_grows_too_large_is_refused_on_its_way(api: Api) -> None:
    def endless():  # type: ignore[no-untyped-def]
        for _ in range(40):
            yield b" " * 2**20

    answer = api.http.post(RUN, content=endless())
    assert (answer.status_code, answer.json()["error_type"]) == (413, "file_too_large")


def test_a_picture_of_too_many_pixels_is_refused_before_they_are_allocated(api: Api) -> None:
    """A PNG of a few bytes that says it has 3.6 gigapixels."""
    wait_for(lambda: api.run(num_layers=2).status_code == 200)
    [worker] = api.bridge.children()
    before = worker.memory_info().rss
    answer = api.run(image_url=data_uri(huge()))
    assert [each["type"] for each in answer.json()["detail"]] == ["image_too_large"]
    assert worker.memory_info().rss - before < 100 * 2**20


# 8


def test_no_picture_prompt_name_or_key_in_a_log(own_api: Api) -> None:
    secret = "a-very-private-caption"
    own_api.run(prompt=secret)
    own_api.run(prompt=secret, num_layers=99)
    own_api.run(prompt=f"bug {secret}")
    own_api.run(image_url=f"https://127.0.0.1/{secret}.png")
    url = own_api.http.post("/media/files/upload", content=png(), headers={"X-Fal-File-Name": f"{secret}.png"}).json()
    own_api.http.get(url["access_url"])
    own_api.http.get("/run/nothing", params={"prompt": secret, "key": KEY})
    own_api.bridge.stop()
    assert own_api.bridge.process.stdout is not None
    said = own_api.bridge.process.stdout.read()
    for log in [*own_api.bridge.data.glob("*.log"), *own_api.bridge.data.glob("*.log.*")]:
        said += log.read_text("utf-8", "replace")
    name = url["access_url"].split("/")[-2]
    assert "fal's API is open" in said
    for word in (secret, KEY, name, "iVBOR"):
        assert word not in said


def test_the_key_is_in_no_file(own_api: Api) -> None:
    own_api.run()
    for path in own_api.bridge.data.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_all_files_are_the_users_own(own_api: Api) -> None:
    own_api.run()
    own_api.http.post("/media/files/upload", content=png())
    for path in own_api.bridge.data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


# What is said when it cannot be opened


def opened_in_vain(folder: Path, fal: dict[str, object], key: str = KEY) -> str:
    done = subprocess.run(
        [*trial_bridge.BRIDGE, str(folder / "data"), json.dumps({"fal": fal})],
        env={**os.environ, keys.VARIABLE: key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = opened_in_vain(tmp_path, {"port": port})
    assert f"cannot be opened on port {port}" in said and "Choose another port" in said


def test_a_key_that_is_too_weak(tmp_path: Path) -> None:
    said = opened_in_vain(tmp_path, {}, key="secret")
    assert "too weak" in said and "secret" not in said


def test_a_backend_that_there_is_not(tmp_path: Path) -> None:
    said = opened_in_vain(tmp_path, {"backend": "magic"})
    assert "There is no backend named “magic”" in said and "Choose one of" in said


def test_an_open_api_is_not_opened_otherwise(api: Api) -> None:
    import urllib.error

    for asked in ({"port": api.port + 1}, {"backend": "builtin"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(api.bridge, asked)
        assert refused.value.code == 409
        assert "open already" in json.loads(refused.value.read())["message"]


def test_the_api_closes_with_its_bridge(start: Starter) -> None:
    api = open_api(start)
    bridge: Bridge = api.bridge
    assert bridge.stop() == 0
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", api.port), timeout=2):
        pass


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"port": -1}', b'{"port": 70000}', b'{"port": "x"}', b'{"port": true}', b'{"backend": 3}']
)
def test_nonsense_opens_nothing(api: Api, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.bridge.card.port, timeout=10)
    connection.request("POST", "/v1/fal-api", body, {"Authorization": f"Bearer {api.bridge.card.token}"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    assert answer.status == 409 and told["message"] and told["code"]
