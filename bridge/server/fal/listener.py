"""One port that speaks everything clients of fal may speak: HTTP, TLS, and CONNECT to fal's own names."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from bridge.server.fal.hosts import PLACES

MOST_CONNECTIONS = 256
FIRST_WORDS = 10.0
"""Seconds that a client gets to say what it speaks, and for CONNECT, for TLS's handshake, and for a request's head."""
LONGEST_CONNECT = 8192
HANDSHAKE = 0x16
"""The first byte of TLS; no method of HTTP begins with it."""
KEEP_ALIVE = 30
LAST_ANSWERS = 3.0

MakeApp = Callable[[bool, str | None], ASGIApp]
"""The application for a way in: over TLS or not, and through a tunnel to which host."""

log = logging.getLogger("unflatten")


class Prompted(H11Protocol):
    """uvicorn's protocol, for clients that finish what they begin: a request's head must come whole in time."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._patience is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._patience = self.loop.call_later(FIRST_WORDS, self.transport.close)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class Listener:
    """Takes connections on `listener`, finds out what they speak, and hands them over to uvicorn's protocol."""

    def __init__(self, listener: socket.socket, make_app: MakeApp, context: ssl.SSLContext) -> None:
        self._listener = listener
        self._context = context
        self._state = ServerState()
        self._plain = _config(make_app(False, None))
        self._secure = _config(make_app(True, None))
        self._tunnels = {host: _config(make_app(True, host)) for host in PLACES}
        self._meeting: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    @property
    def connections(self) -> int:
        return len(self._state.connections) + len(self._meeting)

    async def close(self) -> None:
        """Take no more connections, let the answers under way end, then close all."""
        self._accepting.cancel()
        self._listener.close()
        for task in self._meeting:
            task.cancel()
        await asyncio.gather(self._accepting, *self._meeting, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=LAST_ANSWERS)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self.connections >= MOST_CONNECTIONS:
                await asyncio.sleep(0.05)
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # no more files may be opened, most likely; some will be closed
                log.warning("fal's API could not take a connection: %s", error.strerror)
                await asyncio.sleep(1)
                continue
            task = asyncio.create_task(self._meet(connection))
            self._meeting.add(task)
            task.add_done_callback(self._meeting.discard)

    async def _meet(self, connection: socket.socket) -> None:
        """Hand a connection over by what it begins with. One that says nothing sensible in time is closed."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(FIRST_WORDS):
                first = await _peek(connection)
                config = self._plain
                if first == HANDSHAKE:
                    config = self._secure
                elif first == ord("C"):  # of all methods in use only CONNECT begins so
                    host = await _connect(connection)
                    config = self._tunnels[host]
                    first = await _peek(connection)
                    if first != HANDSHAKE:
                        raise ConnectionError
            await self._hand_over(connection, config, secure=first == HANDSHAKE)
        except (OSError, TimeoutError, asyncio.CancelledError):
            connection.close()

    async def _hand_over(self, connection: socket.socket, config: uvicorn.Config, *, secure: bool) -> None:
        def protocol() -> Prompted:
            return Prompted(config, self._state, {})

        loop = asyncio.get_running_loop()
        if secure:
            await loop.connect_accepted_socket(
                protocol, connection, ssl=self._context, ssl_handshake_timeout=FIRST_WORDS, ssl_shutdown_timeout=1
            )
        else:
            await loop.connect_accepted_socket(protocol, connection)


async def _peek(connection: socket.socket) -> int:
    """The first byte, left where it is for whoever reads next. Raises ConnectionError where none will come."""
    while True:
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(connection)
            continue
        if not first:
            raise ConnectionError
        return first[0]


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        loop.add_reader(connection, lambda: ready.done() or ready.set_result(None))
    except NotImplementedError:  # Windows' loop has no such thing
        await asyncio.sleep(0.005)
        return
    try:
        await ready
    finally:
        loop.remove_reader(connection)


async def _connect(connection: socket.socket) -> str:
    """Answer a CONNECT, and return its host. Raises ConnectionError where it is refused: this is no open proxy."""
    loop = asyncio.get_running_loop()
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = await loop.sock_recv(connection, LONGEST_CONNECT - len(head))
        head += piece
        if not piece or len(head) >= LONGEST_CONNECT or b"\r\n\r\n" in head[:-4]:
            await _say(connection, "400 Bad Request")
            raise ConnectionError
    method, target, _ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2), "", ""][:3]
    host, _, port = target.rpartition(":")
    if method != "CONNECT":
        await _say(connection, "405 Method Not Allowed")
        raise ConnectionError
    if host not in PLACES or port != "443":
        await _say(connection, "403 Forbidden", "This stands in for fal alone and leads nowhere else.\n")
        raise ConnectionError
    await loop.sock_sendall(connection, b"HTTP/1.1 200 Connection established\r\n\r\n")
    return host


async def _say(connection: socket.socket, status: str, sentence: str = "") -> None:
    body = sentence.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(connection, head.encode() + body)


def _config(app: ASGIApp) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.load()
    return config
