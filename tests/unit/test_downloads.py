"""What is fetched from URLs that others gave: bounded in bytes and in seconds, and from nowhere private."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpcore
import httpx
import pytest

from bridge.downloads import NotServed, TooLarge, careful_client, fetch
from bridge.urls import Exempt, Origin, UnsafeURL

Script = Callable[[socket.socket], None]


class Raw:
    """Answers each connection with bytes of the test's own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.script: Script = lambda _: None
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def exempt(self) -> Exempt:
        return frozenset({Origin("http", "127.0.0.1", self.port)})

    def url(self, path: str = "/a.png") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    self.requests.append(connection.recv(65536))
                    self.script(connection)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.close()


def answers(head: str, body: bytes = b"") -> Script:
    return lambda connection: connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)


async def get(url: str, exempt: Exempt = frozenset(), *, most: int = 10_000, seconds: float = 5.0) -> bytes:
    async with careful_client(exempt) as client:
        return await fetch(client, url, exempt=exempt, most=most, seconds=seconds)


async def test_a_file_comes_whole(raw: Raw) -> None:
    raw.script = answers("HTTP/1.1 200 OK\nContent-Length: 5", b"whole")
    assert await get(raw.url(), raw.exempt) == b"whole"
    assert b"accept-encoding: identity" in raw.requests[0].lower() and b"authorization" not in raw.requests[0].lower()


async def test_bytes_are_counted_as_they_come_whatever_was_said(raw: Raw) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"400\r\n" + bytes(1024) + b"\r\n")

    raw.script = endless
    with pytest.raises(TooLarge):
        await get(raw.url(), raw.exempt)


@pytest.mark.parametrize("length", [9, 3])
async def test_a_length_that_lies_gives_no_other_bytes_than_came(raw: Raw, length: int) -> None:
    raw.script = answers(f"HTTP/1.1 200 OK\nContent-Length: {length}", b"whole")
    if length > 5:
        with pytest.raises(httpx.TransportError):
            await get(raw.url(), raw.exempt)
    else:
        assert await get(raw.url(), raw.exempt) == b"who"


async def test_a_slow_drip_ends_with_its_time(raw: Raw) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        while True:
            connection.sendall(b".")
            time.sleep(0.05)

    raw.script = drip
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await get(raw.url(), raw.exempt, seconds=0.6)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_judged_like_the_first_url(raw: Raw, status: int) -> None:
    raw.script = answers(f"HTTP/1.1 {status} Elsewhere\nLocation: https://169.254.169.254/key\nContent-Length: 0")
    with pytest.raises(UnsafeURL):
        await get(raw.url(), raw.exempt)


async def test_redirects_are_followed_but_not_for_ever(raw: Raw) -> None:
    raw.script = answers("HTTP/1.1 302 Elsewhere\nLocation: /b.png\nContent-Length: 0\nConnection: close")
    with pytest.raises(NotServed):
        await get(raw.url(), raw.exempt)
    assert len(raw.requests) == 6 and b"GET /b.png" in raw.requests[1]


async def test_another_answer_is_no_file(raw: Raw) -> None:
    raw.script = answers("HTTP/1.1 404 Gone\nContent-Length: 5", b"sorry")
    with pytest.raises(NotServed) as raised:
        await get(raw.url(), raw.exempt)
    assert raised.value.status == 404


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let names lead to these addresses, one after the other; the names that were asked for."""
    asked: list[str] = []

    async def getaddrinfo(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_that_leads_here_is_not_connected_to(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1")
    with pytest.raises(UnsafeURL):
        await get(f"https://innocent.example:{raw.port}/a.png")
    assert raw.requests == []


async def test_what_is_connected_to_is_what_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that gives a public address when it is checked and a private one a moment later (DNS rebinding)."""
    asked = resolving(monkeypatch, "93.184.216.34", "127.0.0.1")
    connected: list[str] = []

    async def connect_tcp(self: Any, host: str, port: int, *_: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError()

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    with pytest.raises(httpx.ConnectError):
        await get("https://rebinding.example/a.png")
    assert (asked, connected) == (["rebinding.example"], ["93.184.216.34"])


async def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        both = ("93.184.216.34", "10.0.0.5")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in both]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    with pytest.raises(UnsafeURL):
        await get("https://mixed.example/a.png")


async def test_errors_quote_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(httpx.TransportError) as raised:
        await get("https://secret-name.invalid/a.png")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://xn--/a.png", "https://exa\u200dmple.org/a.png", "https://[::1/a.png"])
async def test_an_address_that_no_server_can_have_is_said_to_be_none(url: str) -> None:
    with pytest.raises(UnsafeURL):
        await get(url)


async def test_a_redirect_to_such_an_address_is_refused_too(raw: Raw) -> None:
    raw.script = answers("HTTP/1.1 302 Found\nLocation: https://xn--/a.png\nContent-Length: 0")
    with pytest.raises(UnsafeURL):
        await get(raw.url(), raw.exempt)
