"""uvicorn as the bridge runs it, for Krita and for fal's API: quiet, stopped by whoever started it, and with clients
that must finish what they begin."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from bridge import protocol
from bridge.server.visitors import VISIT, Visit, Visitors

LONGEST_FRAME = protocol.CHUNK + 1024
"""Bytes of one WebSocket frame."""
MOST_FRAGMENTS = 1024
"""Pieces that a WebSocket message may come in."""
LAST_ANSWERS = 3
"""Seconds that answers under way get at the end."""
OUT_OF_FILES = 1.0
"""Seconds to wait where no more files may be opened."""

log = logging.getLogger("unflatten")


class WebServer(uvicorn.Server):
    """uvicorn without its own signal handlers, its listener and its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()
        """Set to end it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self.stop.wait()

    def protocol(self, visit: Visit, **state: Any) -> "Prompted":
        """What speaks with a new connection. state: what its requests find in theirs."""
        return Prompted(self.config, self.server_state, {VISIT: visit, **state})


class Prompted(H11Protocol):
    """uvicorn's protocol, for clients that finish what they begin: a request's head must come whole in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _visit(self).drop = transport.abort

    def data_received(self, data: bytes) -> None:
        _visit(self).expect()
        super().data_received(data)

    def on_response_complete(self) -> None:
        _visit(self).answered()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        _visit(self).end()
        super().connection_lost(exc)


class PromptedSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol for WebSockets, which keeps nothing for a client that does not read."""

    def connection_lost(self, exc: Exception | None) -> None:
        _visit(self).end()
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():  # else as much waits as may: a pong may be left out where a later one follows
            self.transport.write(pong)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.handle_parser_exception()


def _visit(of: Prompted | PromptedSocket) -> Visit:
    return of.app_state[VISIT]


def web_config(app: ASGIApp, *, websockets: bool = False, keep_alive: int = 5) -> uvicorn.Config:
    """uvicorn's settings. keep_alive: seconds that a connection stays open between two requests."""
    return uvicorn.Config(
        app,
        http=Prompted,
        ws=PromptedSocket if websockets else "none",
        ws_max_size=LONGEST_FRAME,
        ws_per_message_deflate=False,
        # On the loopback a dead client is noticed at once; a ping would only cut off a Krita busy with its own work.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )


async def accept(listener: socket.socket, visitors: Visitors, meet: Callable[[socket.socket], Awaitable[None]]) -> None:
    """Take connections, one after the other, for ever: `meet` begins with each, and must not keep the next waiting.

    asyncio's own way takes all that wait at once, before a single one of them was heard.
    """
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        await visitors.room()
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError as error:  # no more files may be opened, most likely; some will be closed
            log.warning("a connection could not be taken: %s", error.strerror)
            await asyncio.sleep(OUT_OF_FILES)
            continue
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await meet(connection)
        except OSError:  # gone already
            connection.close()
