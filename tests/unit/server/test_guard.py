"""The guard's promises, each against a running bridge."""

import http.client
import ipaddress
import json
import os
import re
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from bridge import protocol
from bridge.connection_file import CONNECTION_FILE, Connection, read_connection
from bridge.server import auth
from tests.unit.trial import bridge as trial_bridge
from tests.unit.trial.client import new_job, noise
from tests.unit.trial.running import Bridge, Starter, wait_for

HTTP_ROUTES = [("GET", "/v1/status"), ("POST", "/v1/shutdown"), ("GET", "/"), ("GET", "/v1/nothing")]
UPGRADE = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
]
PLACES = [*[(method, path, []) for method, path in HTTP_ROUTES], ("GET", protocol.PATH, UPGRADE)]

Headers = list[tuple[str, str]]


def knock(card: Connection, method: str, path: str, headers: Headers) -> tuple[int, str]:
    """One bare HTTP request with exactly these headers; status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", card.port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = "" if response.status == 101 else response.read().decode()
    connection.close()
    return response.status, body


def good(card: Connection) -> Headers:
    return [("Host", f"127.0.0.1:{card.port}"), ("Authorization", f"Bearer {card.token}")]


def replaced(headers: Headers, name: str, value: str) -> Headers:
    return [(each, value if each == name else old) for each, old in headers]


# 1


def test_listens_on_127_0_0_1_alone(shared_bridge: Bridge) -> None:
    process = psutil.Process(shared_bridge.process.pid)
    listening = [each for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert [tuple(each.laddr) for each in listening] == [("127.0.0.1", shared_bridge.card.port)]


def test_no_other_address_of_this_computer_answers(shared_bridge: Bridge) -> None:
    others = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not ipaddress.ip_address(address.address).is_loopback
    } | {"127.0.0.2"}
    for other in others:
        with pytest.raises(OSError), socket.create_connection((other, shared_bridge.card.port), timeout=2):
            pass


def test_the_system_picks_the_port(start: Starter, tmp_path: Path) -> None:
    ports = {start(tmp_path / name).card.port for name in ("a", "b", "c")}
    assert len(ports) == 3


# 2


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
def test_every_place_wants_the_token(shared_bridge: Bridge, place: tuple[str, str, Headers]) -> None:
    method, path, extra = place
    card = shared_bridge.card
    host = [("Host", f"127.0.0.1:{card.port}")]
    wrong = card.token[:-1] + ("0" if card.token[-1] != "0" else "1")
    attempts: list[tuple[str, Headers]] = [
        (path, host),
        (path, [*host, ("Authorization", "")]),
        (path, [*host, ("Authorization", card.token)]),
        (path, [*host, ("Authorization", f"Basic {card.token}")]),
        (path, [*host, ("Authorization", f"Bearer {wrong}")]),
        (path, [*host, ("Authorization", f"Bearer {card.token[:32]}")]),
        (path, [*host, ("Authorization", f"Bearer {card.token} ,")]),
        (path, [*host, ("Authorization", f"Bearer {wrong}"), ("Authorization", f"Bearer {card.token}")]),
        (path, [*host, ("Cookie", f"token={card.token}")]),
        (f"{path}?token={card.token}&access_token={card.token}", host),
    ]
    for address, headers in attempts:
        status, body = knock(card, method, address, headers + extra)
        assert (status, json.loads(body)["code"]) == (401, "unauthorized"), headers
        assert json.loads(body)["message"] and card.token not in body
    assert shared_bridge.process.poll() is None


def test_the_token_opens_every_place(shared_bridge: Bridge) -> None:
    card = shared_bridge.card
    assert knock(card, "GET", "/v1/status", good(card))[0] == 200
    assert knock(card, "GET", "/v1/nothing", good(card))[0] == 404
    assert knock(card, "GET", protocol.PATH, good(card) + UPGRADE)[0] == 101


def test_the_token_has_256_bits_and_is_new_each_time(start: Starter) -> None:
    tokens = set[str]()
    for _ in range(2):
        bridge = start()
        tokens.add(bridge.card.token)
        assert re.fullmatch("[0-9a-f]{64}", bridge.card.token)
        bridge.stop()
    assert len(tokens) == 2


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def spy(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return False

    monkeypatch.setattr(auth.hmac, "compare_digest", spy)
    guard = auth.with_token(lambda *_: None, token="ab", port=7)  # type: ignore[arg-type, return-value]
    headers = [(b"host", b"localhost:7"), (b"authorization", b"Bearer ab")]
    assert guard.reason({"headers": headers}) == "unauthorized"
    assert compared == [(b"Bearer ab", b"Bearer ab")]


# 3


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
def test_another_host_is_refused_even_with_the_token(shared_bridge: Bridge, place: tuple[str, str, Headers]) -> None:
    method, path, extra = place
    card = shared_bridge.card
    bad = [
        "127.0.0.1",
        "localhost",
        f"127.0.0.1:{card.port + 1}",
        f"evil.example:{card.port}",
        f"127.0.0.2:{card.port}",
    ]
    bad += [f"localhost.evil.example:{card.port}", f"127.0.0.1:{card.port}.evil.example", f"[::1]:{card.port}"]
    for host in bad:
        status, body = knock(card, method, path, replaced(good(card), "Host", host) + extra)
        assert (status, json.loads(body)["code"]) == (403, "wrong_host"), host


def test_localhost_is_this_computers_name_too(shared_bridge: Bridge) -> None:
    card = shared_bridge.card
    assert knock(card, "GET", "/v1/status", replaced(good(card), "Host", f"localhost:{card.port}"))[0] == 200


def test_two_hosts_or_none_are_refused(shared_bridge: Bridge) -> None:
    card = shared_bridge.card
    assert knock(card, "GET", "/v1/status", [*good(card), ("Host", f"127.0.0.1:{card.port}")])[0] in (400, 403)
    assert knock(card, "GET", "/v1/status", good(card)[1:])[0] in (400, 403)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
def test_any_origin_is_refused_even_with_the_token(shared_bridge: Bridge, place: tuple[str, str, Headers]) -> None:
    method, path, extra = place
    card = shared_bridge.card
    for origin in ("null", "", "https://evil.example", f"http://127.0.0.1:{card.port}", "http://localhost"):
        status, body = knock(card, method, path, [*good(card), ("Origin", origin), *extra])
        assert (status, json.loads(body)["code"]) == (403, "wrong_origin"), origin


def test_a_preflight_gets_no_cors_headers(shared_bridge: Bridge) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_bridge.card.port, timeout=10)
    connection.request("OPTIONS", "/v1/status", headers={"Origin": "https://evil.example"})
    response = connection.getresponse()
    assert response.status == 403
    assert not [name for name, _ in response.getheaders() if name.lower().startswith("access-control")]


# 4


def test_the_card_is_private_and_goes_with_the_bridge(bridge: Bridge) -> None:
    path = bridge.data / CONNECTION_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(bridge.data.stat().st_mode) == 0o700
    card = json.loads(path.read_text())
    assert set(card) == {"port", "pid", "token", "version", "started"}
    assert card["pid"] == bridge.process.pid and abs(card["started"] - time.time()) < 30
    assert bridge.stop() == 0
    assert not path.exists()


def test_the_card_is_never_seen_half_written(start: Starter, tmp_path: Path) -> None:
    """Renamed into place, not written there: whoever holds the old file open still reads the old card."""
    data = tmp_path / "data"
    data.mkdir()
    path = data / CONNECTION_FILE
    path.write_text('{"port": 1, "pid": 1, "token": "old", "version": "0", "started": 1}')
    with open(path) as old:
        bridge = start(data)
        assert json.loads(old.read())["token"] == "old"
    assert bridge.card.token != "old"
    assert not list(data.glob(".bridge.json*"))


def test_the_card_of_another_bridge_is_left_alone(bridge: Bridge) -> None:
    path = bridge.data / CONNECTION_FILE
    other = {**json.loads(path.read_text()), "pid": 1, "token": "f" * 64}
    path.write_text(json.dumps(other))
    bridge.stop()
    assert json.loads(path.read_text()) == other


def test_every_file_is_private(bridge: Bridge) -> None:
    with bridge.client() as client:
        client.split(noise(64, 64))
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in bridge.data.rglob("*")}
    assert any(path.suffix == ".raw" for path in modes) and any("journal" in path.name for path in modes)
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


# 5


def test_a_second_bridge_says_that_one_is_running(bridge: Bridge) -> None:
    before = bridge.card
    second = subprocess.run([*trial_bridge.BRIDGE, str(bridge.data), "{}"], capture_output=True, text=True, timeout=30)
    assert second.returncode == 0
    assert f"already running (process {before.pid}, port {before.port})" in second.stdout
    assert bridge.card == before
    with bridge.client() as client:
        assert client.greeting["type"] == "welcome"


def test_of_many_started_at_once_one_serves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [*trial_bridge.BRIDGE, str(data), '{"idle_exit": 8}']
    many = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        wait_for(lambda: sum(each.poll() is None for each in many) == 1 and read_connection(data), 30)
        [serving] = [each for each in many if each.poll() is None]
        card = read_connection(data)
        assert card is not None and card.pid == serving.pid
        assert {each.returncode for each in many if each is not serving} == {0}
    finally:
        for each in many:
            each.terminate()
            each.communicate(timeout=30)


# 6


def test_a_frame_over_the_limit_is_refused_by_its_header_alone(bridge: Bridge) -> None:
    with bridge.client() as client:
        binary, masked, eight_bytes_of_length = 0x82, 0x80, 127
        header = struct.pack("!BBQ", binary, masked | eight_bytes_of_length, 2**40) + b"mask"
        client.socket.socket.sendall(header)
        with pytest.raises(ConnectionClosed) as closed:
            client.hear()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    with bridge.client() as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


@pytest.mark.parametrize(
    ("width", "height"), [(0, 0), (1, 1), (30_000, 20_000), (65_536, 100), (20, 10), (-4, 5), (2**40, 2**40)]
)
def test_a_picture_out_of_bounds_is_refused_before_its_bytes(bridge: Bridge, width: int, height: int) -> None:
    with bridge.client() as client:
        job = new_job()
        client.ask(job, width, height, about={"chunks": 1})
        answer = client.hear()
        assert (answer["type"], answer["job"], answer["code"]) == ("error", job, "bad_picture")
        assert answer["message"] and answer["hint"]
        assert not list((bridge.data / "jobs").iterdir())
        assert bridge.children() == []


def test_more_bytes_than_were_said_are_not_kept(bridge: Bridge) -> None:
    with bridge.client() as client:
        job = new_job()
        client.ask(job, 100, 100, about={"chunks": 2})
        client.socket.send(b"\0" * 39_000)
        client.socket.send(b"\0" * 39_000)
        answer = client.finish(job).last("error")
        assert answer["code"] == "bad_picture"
        wait_for(lambda: not list((bridge.data / "jobs").iterdir()))
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


@pytest.mark.parametrize("job", ["../../../../etc/passwd", "a" * 31, "A" * 32, "0" * 31 + "/", 7, None])
def test_a_job_number_that_leads_elsewhere_is_refused(shared_bridge: Bridge, job: object) -> None:
    with shared_bridge.client() as client:
        for kind in ("cancel", "attach"):
            client.say(kind, job=job)
            assert client.hear()["code"] == "protocol"
        client.ask(job, 64, 64)  # type: ignore[arg-type]
        assert client.hear()["code"] == "protocol"
    assert not list((shared_bridge.data / "jobs").iterdir())


# 8


def test_no_prompt_picture_or_token_comes_into_a_log(bridge: Bridge) -> None:
    secret = "mermaid-7431"
    picture = noise(64, 64)
    with bridge.client() as client:
        for verb in (secret, f"bug {secret}", f"print {secret}", f"die 9 {secret}"):
            client.split(picture, prompt=verb, settings={"negative_prompt": secret}, document=f"{secret}.kra")
        client.say(
            "decompose",
            job=new_job(),
            picture={"width": 64, "height": 64, "chunks": 1},
            settings={"num_layers": secret},
        )
        refusal = client.hear()
        assert refusal["code"] == "bad_settings" and secret not in refusal["message"]
        client.say(secret)
        client.socket.send(f'{{"type": "{secret}')
        client.hear(), client.hear()
    knock(bridge.card, "GET", f"/v1/status?{secret}={bridge.card.token}", [*good(bridge.card), ("X-Note", secret)])
    token = bridge.card.token
    bridge.stop()
    logs = b"".join(path.read_bytes() for path in bridge.data.glob("*.log*"))
    assert b"ValueError" in logs, "the log must still tell where the bug was"
    for kept_out in (secret.encode(), token.encode(), token[:16].encode(), picture.tobytes()[:12]):
        assert kept_out not in logs
    assert b"mermaid" not in (bridge.process.stdout.read().encode() if bridge.process.stdout else b"")


# 9


def test_sigterm_lets_the_running_job_end_and_takes_no_new_one(bridge: Bridge) -> None:
    with bridge.client() as client, bridge.client() as late:
        job = client.start(noise(64, 64), prompt="slow 2")
        wait_for(lambda: bridge.children())
        assert client.hear()["type"] == "accepted"
        bridge.process.terminate()
        wait_for(lambda: not (bridge.data / CONNECTION_FILE).exists())
        refused = late.split(noise(64, 64)).last("error")
        assert refused["code"] == "shutting_down" and refused["retryable"]
        result = client.finish(job)
        assert result.kinds()[-1] == "done" and len(result.layers) == 5
        assert bridge.process.wait(15) == 0


def test_sigterm_waits_no_longer_than_the_deadline_and_leaves_no_child(start: Starter) -> None:
    bridge = start(drain=1)
    with bridge.client() as client:
        running = client.start(noise(64, 64), prompt="deaf 60")
        waiting = client.start(noise(64, 64, 2))
        wait_for(lambda: (bridge.data / "jobs" / waiting / "picture.raw").exists())
        children = wait_for(bridge.children)
        began = time.monotonic()
        bridge.process.terminate()
        ends = dict[str, str]()
        while len(ends) < 2:
            message = client.hear()
            if message["type"] == "error":
                ends[message["job"]] = message["code"]
        assert ends == {running: "interrupted", waiting: "interrupted"}
        assert bridge.process.wait(15) == 0
        assert time.monotonic() - began < 8
    _, alive = psutil.wait_procs(children, 3)
    assert alive == []


def test_shutdown_by_request_is_as_orderly(bridge: Bridge) -> None:
    assert knock(bridge.card, "POST", "/v1/shutdown", good(bridge.card))[0] == 202
    assert bridge.process.wait(15) == 0
    assert not (bridge.data / CONNECTION_FILE).exists()


def test_a_new_bridge_can_start_while_the_old_one_drains(start: Starter) -> None:
    old = start()
    with old.client() as client:
        job = client.start(noise(64, 64), prompt="slow 2")
        assert client.hear()["type"] == "accepted"
        old.process.terminate()
        wait_for(lambda: not (old.data / CONNECTION_FILE).exists())
        new = start()
        assert client.finish(job).kinds()[-1] == "done"
    assert old.process.wait(15) == 0
    with new.client() as client:
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


# 10


def test_an_idle_bridge_ends_by_itself(start: Starter) -> None:
    bridge = start(idle_exit=1)
    assert bridge.process.wait(15) == 0
    assert not (bridge.data / CONNECTION_FILE).exists()


def test_a_client_or_a_job_keeps_the_bridge_from_ending(start: Starter) -> None:
    bridge = start(idle_exit=1)
    with bridge.client() as client:
        time.sleep(2.5)
        client.start(noise(64, 64), prompt="slow 3")
        assert client.hear()["type"] == "accepted"
    time.sleep(2)
    assert bridge.process.poll() is None
    assert bridge.process.wait(20) == 0


def test_a_bridge_whose_parent_dies_lives_on_by_itself(tmp_path: Path) -> None:
    """Krita may crash: the bridge is not its child for life, and ends by its own idle time."""
    data = tmp_path / "data"
    starter = (
        "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True, "
        "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    )
    command = [*trial_bridge.BRIDGE, str(data), '{"idle_exit": 3}']
    subprocess.run([sys.executable, "-c", starter, *command], check=True, env=dict(os.environ))
    card = wait_for(lambda: read_connection(data))
    assert psutil.pid_exists(card.pid)
    wait_for(lambda: not psutil.pid_exists(card.pid) or psutil.Process(card.pid).status() == "zombie", 15)
    assert read_connection(data) is None
