"""Those who say half a sentence and wait, without a key: they keep nobody else waiting, and fill no log."""

import http.client
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest

from bridge import protocol
from bridge.server.visitors import Visitors, most_connections
from tests.unit.trial.client import noise
from tests.unit.trial.fal_api import Api, open_api
from tests.unit.trial.running import Bridge, Starter, wait_for

FIRST_WORDS = 5.0
MANY = 1100
HALVES = {
    "nothing": b"",
    "half a line": b"GET /v1/sta",
    "half a head": b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    "half a body": b"POST /v1/fal-api HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nab",
}


@pytest.fixture(autouse=True)
def many_files() -> None:
    """This process opens the attackers' connections, and the bridge must not have as many files as that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY:
        pytest.skip("too few files may be opened here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * MANY if hard == resource.RLIM_INFINITY else hard, hard))


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


@pytest.fixture
def crowd() -> Iterator["Crowd"]:
    crowd = Crowd()
    yield crowd
    crowd.leave()


class Crowd:
    """Connections that say half of something."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def come(self, port: int, half: bytes, many: int = MANY) -> None:
        for _ in range(many):
            each = socket.create_connection(("127.0.0.1", port), timeout=20)
            each.sendall(half)
            self.sockets.append(each)

    def leave(self) -> None:
        for each in self.sockets:
            each.close()


def answer_time(bridge: Bridge) -> float:
    began = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", bridge.card.port, timeout=10)) as connection:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {bridge.card.token}"})
        assert connection.getresponse().status == 200
    return time.monotonic() - began


@pytest.mark.parametrize("half", HALVES)
def test_a_good_client_is_answered_while_many_hang(start: Starter, crowd: Crowd, half: str) -> None:
    bridge = start(preexec=few_files)
    with bridge.client() as client:
        crowd.come(bridge.card.port, HALVES[half])
        assert answer_time(bridge) < 2
        assert client.split(noise(64, 64)).kinds()[-1] == "done", "who was there before stays"
        with bridge.client() as another:
            assert another.split(noise(64, 64)).kinds()[-1] == "done"
    open_files = psutil.Process(bridge.process.pid).num_fds()
    assert open_files < 400
    assert len(bridge.log.splitlines()) < 40


def test_fal_s_clients_are_answered_while_many_hang(start: Starter, crowd: Crowd) -> None:
    api: Api = open_api(start, preexec=few_files)
    for half in (b"", b"POST / HTTP/1.1\r\nHost:", b"\x16\x03\x01\x02\x00\x01", b"CONNECT fal.run:443 HTTP/1.1\r\n"):
        crowd.come(api.port, half, MANY // 4)
    began = time.monotonic()
    assert api.http.get("/openapi.json").status_code == 200
    assert time.monotonic() - began < 2
    assert api.run(num_layers=2).status_code == 200
    assert psutil.Process(api.bridge.process.pid).num_fds() < 500
    assert len(api.bridge.log.splitlines()) < 40


def test_who_says_half_a_sentence_is_let_go_in_time(start: Starter) -> None:
    """All at once, since each takes as long as a client may; one sends the body of a refused request by drops."""
    bridge = start(bounds={"bridge.server.visitors.FIRST_WORDS": FIRST_WORDS})
    by_drops = "by drops"
    hanging: dict[str, socket.socket] = {}
    for name, half in {**HALVES, by_drops: HALVES["half a body"]}.items():
        hanging[name] = socket.create_connection(("127.0.0.1", bridge.card.port), timeout=30)
        hanging[name].sendall(half)
    began = time.monotonic()
    while hanging and time.monotonic() - began < 15:
        for name, connection in list(hanging.items()):
            connection.settimeout(0.1)
            try:
                if name == by_drops:
                    connection.sendall(b"a")
                gone = connection.recv(4096) == b""
            except TimeoutError:
                continue
            except OSError:
                gone = True
            if gone:
                del hanging[name]
    assert not hanging and time.monotonic() - began < FIRST_WORDS + 3


def test_refused_requests_do_not_fill_the_log(bridge: Bridge) -> None:
    before = len(bridge.log.splitlines())
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
    heads = [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET %s HTTP/1.1\r\nHost: x\r\n%s13\r\n\r\n" % (protocol.PATH.encode(), upgrade),
        b"GET %s HTTP/1.1\r\nHost: x\r\n%s12\r\nSec-WebSocket-Key: x\r\n\r\n" % (protocol.PATH.encode(), upgrade),
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ]
    for head in heads * 60:
        with socket.create_connection(("127.0.0.1", bridge.card.port), timeout=10) as connection:
            connection.sendall(head)
            connection.recv(4096)
    assert len(bridge.log.splitlines()) - before < 150
    assert answer_time(bridge) < 2


def test_places_are_far_fewer_than_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, places in ((1024, 256), (256, 64), (20_000, 256), (16, 8), (resource.RLIM_INFINITY, 256)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert most_connections() == places


async def test_who_has_shown_a_key_is_never_dropped() -> None:
    dropped: list[int] = []
    door = Visitors(3)
    visits = [door.welcome(lambda number=number: dropped.append(number)) for number in range(3)]
    visits[0].admit()
    visits[2].admit()
    door.welcome(lambda: dropped.append(3))
    assert dropped == [1]
    visits[0].answered()
    door.welcome(lambda: dropped.append(4))
    assert dropped == [1, 0], "between two requests it is nobody again"
    for visit in visits:
        visit.end()
    assert len(door) == 2


def test_the_places_are_given_back(bridge: Bridge) -> None:
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", bridge.card.port), timeout=10) as connection:
            connection.sendall(b"GET")
    wait_for(lambda: psutil.Process(bridge.process.pid).num_fds() < 60)
    assert answer_time(bridge) < 2
