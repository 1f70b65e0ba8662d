"""What stands before everything else: it greets Krita's sessions at once, and lets the rest wait for the routes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from bridge import protocol
from bridge.errors import UnflattenError
from bridge.server.sessions import Sessions

if TYPE_CHECKING:
    from bridge.server.service import Service


class Front:
    """ASGI application. service: what answers, once it is loaded."""

    def __init__(self, sessions: Sessions, service: asyncio.Future[Service]) -> None:
        self._sessions = sessions
        self._service = service
        self.asked = asyncio.Event()
        """Set once a client has been greeted, or asks for anything else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == protocol.PATH:
            await self._sessions.serve(WebSocket(scope, receive, send), greeted=self.asked.set)
            return
        self.asked.set()
        try:
            service = await asyncio.shield(self._service)  # one client that leaves must not end what all wait for
        except UnflattenError as error:
            await JSONResponse(error.as_dict(), status_code=503)(scope, receive, send)
            return
        await service.app(scope, receive, send)
