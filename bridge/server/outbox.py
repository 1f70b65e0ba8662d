"""What waits to be sent to one client, in order: messages as text, layers straight from their files."""

import asyncio
import mmap
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from starlette.websockets import WebSocket

from bridge import protocol
from bridge.jobs.job import LayerReady


class _Item(NamedTuple):
    content: str | LayerReady
    job: str = ""
    passing: bool = False
    end: bool = False


class Outbox:
    """Only names of layer files wait here, never their pixels: a slow client costs no memory."""

    def __init__(self, delivered: Callable[[str], None]) -> None:
        """delivered: called with a job's id when its client has been sent the last of it."""
        self._delivered = delivered
        self._items: deque[_Item] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, text: str) -> None:
        self._put(_Item(text))

    def put_passing(self, job: str, text: str) -> None:
        """Progress: where the client is slow, only the latest waits."""
        if self._items and self._items[-1].passing and self._items[-1].job == job:
            self._items.pop()
        self._put(_Item(text, job, passing=True))

    def put_layer(self, job: str, layer: LayerReady) -> None:
        self._put(_Item(layer, job))

    def put_end(self, job: str, text: str) -> None:
        """The last that is told of a job that ended well."""
        self._put(_Item(text, job, end=True))

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._empty.clear()
        self._filled.set()

    async def flushed(self) -> None:
        """Return once all is sent."""
        await self._empty.wait()

    async def send_to(self, socket: WebSocket) -> None:
        """Send what comes, for ever; returns when the client is gone."""
        try:
            while True:
                while not self._items:
                    self._filled.clear()
                    self._empty.set()
                    await self._filled.wait()
                item = self._items.popleft()
                if isinstance(item.content, str):
                    await socket.send_text(item.content)
                    if item.end:
                        self._delivered(item.job)
                else:
                    await _send_layer(socket, item.job, item.content)
        finally:
            self._empty.set()


async def _send_layer(socket: WebSocket, job: str, layer: LayerReady) -> None:
    """Send a layer's message and its pixels out of the page cache, without reading them into memory first."""
    try:
        with open(layer.path, "rb") as file:
            pixels = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:  # the job was cancelled meanwhile, and its end comes next
        return
    chunks = protocol.chunk_count(len(pixels))
    await socket.send_text(
        protocol.encode("layer", job=job, index=layer.index, rect=list(layer.outline.rect), chunks=chunks)
    )
    for piece in protocol.chunks(memoryview(pixels)):
        await socket.send({"type": "websocket.send", "bytes": piece})
