"""Krita's port: connections are taken here, and handed to a uvicorn server that has no listener of its own."""

import asyncio
import socket

from starlette.types import ASGIApp

from bridge.server.visitors import Visitors
from bridge.server.web import WebServer, accept, web_config


class Listener:
    """Takes connections on `listener`, and hands them to the server of `app`."""

    def __init__(self, listener: socket.socket, app: ASGIApp) -> None:
        self._listener = listener
        self._visitors = Visitors()
        self._server = WebServer(web_config(app, websockets=True))
        self._serving = asyncio.create_task(self._server.serve(sockets=[]))
        self._accepting = asyncio.create_task(accept(listener, self._visitors, self._meet))

    async def close(self) -> None:
        """Take no more connections, let the answers under way end, then close all."""
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()
        self._server.stop.set()
        await self._serving

    async def _meet(self, connection: socket.socket) -> None:
        visit = self._visitors.welcome(connection.close)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self._server.protocol(visit), connection)
