"""What waits to be sent to one client, in order: messages as text, layers straight from their files."""

import asyncio
import mmap
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from starlette.websockets import WebSocket

from bridge import protocol
from bridge.jobs.job import LayerReady, Previewed

MOST_ITEMS = 1000
MOST_TEXT = 2 * 2**20
"""Answers, and characters in them, that may wait while more is read from the client."""


class _Item(NamedTuple):
    content: str | LayerReady | Previewed
    job: str = ""
    end: bool = False


class Outbox:
    """Only names of layer files wait here, never their pixels: a slow client costs no memory.

    One that reads nothing at all is not read from either: see `room`.
    """

    def __init__(self, delivered: Callable[[str], None]) -> None:
        """delivered: called with a job's id when its client has been sent the last of it."""
        self._delivered = delivered
        self._items: OrderedDict[int, _Item] = OrderedDict()
        self._number = 0
        self._text = 0
        self._passing: dict[str, int] = {}
        """Each job's progress that waits."""
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._roomy = asyncio.Event()
        self._roomy.set()

    def put(self, text: str) -> None:
        self._put(_Item(text))

    def put_passing(self, job: str, text: str) -> None:
        """Progress: where the client is slow, only each job's latest waits."""
        before = self._passing.pop(job, None)
        if before is not None:
            self._take(before)
        self._passing[job] = self._put(_Item(text, job))

    def put_preview(self, job: str, preview: Previewed) -> None:
        """Where the client is slow, older ones are gone by the time they could be sent, and are left out."""
        self._put(_Item(preview, job))

    def put_layer(self, job: str, layer: LayerReady) -> None:
        self._put(_Item(layer, job))

    def put_end(self, job: str, text: str) -> None:
        """The last that is told of a job that ended well."""
        self._put(_Item(text, job, end=True))

    def _put(self, item: _Item) -> int:
        self._number += 1
        self._items[self._number] = item
        self._text += len(item.content) if isinstance(item.content, str) else 0
        self._empty.clear()
        self._filled.set()
        self._look_for_room()
        return self._number

    def _take(self, number: int) -> _Item:
        item = self._items.pop(number)
        self._text -= len(item.content) if isinstance(item.content, str) else 0
        if self._passing.get(item.job) == number:
            del self._passing[item.job]
        self._look_for_room()
        return item

    def _look_for_room(self) -> None:
        if len(self._items) < MOST_ITEMS and self._text < MOST_TEXT:
            self._roomy.set()
        else:
            self._roomy.clear()

    async def room(self) -> None:
        """Return once what waits is no more than may wait while the client asks for more."""
        await self._roomy.wait()

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
                item = self._take(next(iter(self._items)))
                if isinstance(item.content, str):
                    await socket.send_text(item.content)
                    if item.end:
                        self._delivered(item.job)
                elif isinstance(item.content, Previewed):
                    await _send_preview(socket, item.job, item.content)
                else:
                    await _send_layer(socket, item.job, item.content)
        finally:
            self._empty.set()


async def _send_preview(socket: WebSocket, job: str, preview: Previewed) -> None:
    """Send a preview's message and its pixels, unless there is a newer one."""
    try:
        pixels = preview.path.read_bytes()
    except FileNotFoundError:
        return
    about = protocol.encode("preview", job=job, layers=preview.layers, width=preview.width, height=preview.height)
    await socket.send_text(about)
    await socket.send_bytes(pixels)


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
