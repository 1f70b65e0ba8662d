"""Krita's sessions: each is greeted at once, and served as soon as the engine is there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge import protocol
from bridge.errors import UnflattenError
from bridge.server.frames import Message, decode, receive

if TYPE_CHECKING:
    from bridge.server.service import Service
    from bridge.server.session import Session

MOST_SESSIONS = 64
HELLO_PATIENCE = 10.0
LARGEST_VERSION = 2**53

TRY_AGAIN_LATER = 1013
PROTOCOL_ERROR = 1002
INTERNAL_ERROR = 1011


class Sessions:
    """The connections that are open. service: what serves them, once it is loaded."""

    def __init__(self, service: asyncio.Future[Service]) -> None:
        self._service = service
        self._numbers = itertools.count(1)
        self._open: dict[WebSocket, Session | None] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, socket: WebSocket, *, greeted: Callable[[], object]) -> None:
        """Serve one connection, from the handshake to its end; `greeted` is called once it was welcomed."""
        await socket.accept()
        if len(self._open) >= MOST_SESSIONS:
            await socket.close(TRY_AGAIN_LATER, "Too many programs are connected to the bridge.")
            return
        number = next(self._numbers)
        self._open[socket] = service = None
        try:
            hello = await _greet(socket)
            if hello is not None:
                greeted()
                service = await asyncio.shield(self._service)
                self._open[socket] = session = service.begin_session(socket, number, hello)
                service.engine.workers.client_came()
                await session.run()
        except WebSocketDisconnect:
            pass
        except UnflattenError as error:  # the engine could not be loaded
            await _turn_away(socket, error, INTERNAL_ERROR)
        finally:
            del self._open[socket]
            if service is not None and not self._open:
                service.engine.workers.no_clients()

    async def gone(self, patience: float) -> None:
        """Return once no client is connected, or after so many seconds."""
        until = time.monotonic() + patience
        while self._open and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def flushed(self) -> None:
        """Return once every client has been sent what there was for it."""
        await asyncio.gather(*(session.outbox.flushed() for session in self._open.values() if session is not None))


async def _greet(socket: WebSocket) -> Message | None:
    """A client's hello, after which it was welcomed; None where it is told what was wrong with it, and let go."""
    try:
        async with asyncio.timeout(HELLO_PATIENCE):
            message = decode(await receive(socket))
        if message["type"] != "hello":
            raise protocol.ProtocolError("The first message must be “hello”.")
        problem = protocol.version_problem(_version(message))
    except (TimeoutError, protocol.ProtocolError) as error:
        sentence = str(error) or "No “hello” arrived in time."
        await _turn_away(socket, UnflattenError(sentence, code="protocol"), PROTOCOL_ERROR)
        return None
    if problem is not None:
        await _turn_away(socket, UnflattenError(problem, code="protocol_version"), PROTOCOL_ERROR)
        return None
    await socket.send_text(protocol.encode("welcome", protocol=protocol.VERSION))
    return message


def _version(message: Message) -> int:
    """The client's version of the protocol. Raises ProtocolError."""
    version = message["protocol"]
    if type(version) is not int or abs(version) > LARGEST_VERSION:
        raise protocol.ProtocolError("The protocol’s version must be a whole number.")
    return version


async def _turn_away(socket: WebSocket, error: UnflattenError, code: int) -> None:
    with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):  # gone already
        async with asyncio.timeout(HELLO_PATIENCE):
            await socket.send_text(protocol.encode("error", **error.as_dict()))
            await socket.close(code)
