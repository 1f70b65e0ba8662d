"""uvicorn as the bridge runs it, for Krita and for fal's API: quiet, and stopped by whoever started it."""

import asyncio
import contextlib
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from bridge import protocol

LONGEST_FRAME = protocol.CHUNK + 1024
"""Bytes of one WebSocket frame."""
LAST_ANSWERS = 3
"""Seconds that answers under way get at the end."""


class WebServer(uvicorn.Server):
    """uvicorn without its own signal handlers and its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()
        """Set to end it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self.stop.wait()


def web_config(app: ASGIApp, *, websockets: bool = False, keep_alive: int = 5) -> uvicorn.Config:
    """uvicorn's settings. keep_alive: seconds that a connection stays open between two requests."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="websockets-sansio" if websockets else "none",
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
