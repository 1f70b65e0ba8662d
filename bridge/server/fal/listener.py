"""One port that speaks everything clients of fal may speak: HTTP, TLS, and CONNECT to fal's own names.

Each connection is looked at until it is known what it speaks, then handed to a stock uvicorn server in this process,
which has no listener of its own: there is no second port by which anyone could come past this one.
"""

import asyncio
import contextlib
import socket
import ssl

from starlette.types import ASGIApp

from bridge.server.fal.hosts import PLACES, TUNNEL
from bridge.server.visitors import FIRST_WORDS, Visit, Visitors
from bridge.server.web import Prompted, WebServer, accept, web_config

LONGEST_CONNECT = 8192
"""Bytes of a CONNECT request."""
HANDSHAKE = 0x16
"""The first byte of TLS; no method of HTTP begins with it."""
KEEP_ALIVE = 30
"""Seconds that a connection stays open between two requests."""


class Listener:
    """Takes connections on `listener`, finds out what they speak, and hands them to the server of `app`."""

    def __init__(self, listener: socket.socket, app: ASGIApp, context: ssl.SSLContext) -> None:
        self._listener = listener
        self._context = context
        self._visitors = Visitors()
        self._server = WebServer(web_config(app, keep_alive=KEEP_ALIVE))
        self._serving = asyncio.create_task(self._server.serve(sockets=[]))
        self._meeting: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(accept(listener, self._visitors, self._begin))

    @property
    def connections(self) -> int:
        return len(self._visitors)

    async def close(self) -> None:
        """Take no more connections, let the answers under way end, then close all."""
        self._accepting.cancel()
        for task in self._meeting:
            task.cancel()
        await asyncio.gather(self._accepting, *self._meeting, return_exceptions=True)
        self._listener.close()
        self._server.stop.set()
        await self._serving

    async def _begin(self, connection: socket.socket) -> None:
        task = asyncio.create_task(self._meet(connection))
        self._meeting.add(task)
        task.add_done_callback(self._meeting.discard)
        await asyncio.sleep(0)  # it is read from before the next is taken

    async def _meet(self, connection: socket.socket) -> None:
        """Hand a connection over by what it begins with. One that says nothing sensible in time is closed."""
        task = asyncio.current_task()
        assert task is not None
        visit = self._visitors.welcome(task.cancel)
        try:
            first, tunnel = await _peek(connection), None
            if first == ord("C"):  # of all methods in use only CONNECT begins so
                tunnel = await _connect(connection)
                first = await _peek(connection)
                if first != HANDSHAKE:
                    raise ConnectionError
            await self._hand_over(connection, visit, tunnel, secure=first == HANDSHAKE)
        except (OSError, asyncio.CancelledError):
            visit.end()
            connection.close()

    async def _hand_over(self, connection: socket.socket, visit: Visit, tunnel: str | None, *, secure: bool) -> None:
        def protocol() -> Prompted:
            return self._server.protocol(visit, **{TUNNEL: tunnel})

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
    ready = asyncio.Event()
    try:
        loop.add_reader(connection, ready.set)
    except NotImplementedError:  # Windows' loop has no such thing
        await asyncio.sleep(0.005)
        return
    try:
        await ready.wait()
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
            await _refuse(connection, "400 Bad Request")
    method, target, _ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2), "", ""][:3]
    host, _, port = target.rpartition(":")
    if method != "CONNECT":
        await _refuse(connection, "405 Method Not Allowed")
    if host not in PLACES or port != "443":
        await _refuse(connection, "403 Forbidden", "This stands in for fal alone and leads nowhere else.\n")
    await loop.sock_sendall(connection, b"HTTP/1.1 200 Connection established\r\n\r\n")
    return host


async def _refuse(connection: socket.socket, status: str, sentence: str = "") -> None:
    """Answer with an error. Raises ConnectionError."""
    body = sentence.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(connection, head.encode() + body)
    raise ConnectionError
