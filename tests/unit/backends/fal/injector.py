"""A bad line: stands between a client and a server on real sockets, and does to answers what networks and gateways do.

Each request goes to the server over a connection of its own, and its answer comes back as it is, or as a fault has it.
Orders are counted as they are handed on, whatever the server makes of them.
"""

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple, Self

Call = Literal["initiate", "put", "submit", "status", "stream", "result", "cancel", "media", "listing"]
Kind = Literal[
    "reset before",  # the server never sees the request
    "reset after",  # it does, and its answer is lost
    "reset within",  # half of the answer arrives
    "stall",  # the answer never comes
    "stall within",  # half of the answer comes
    "cut short",  # half of the body arrives, then an orderly end
    "length too long",  # Content-Length says more than comes
    "length too short",  # and less
    "drip",  # a byte at a time
    "429",
    "500",
    "502",
    "503",
    "504 after",  # the server has done it all, and a gateway says that it took too long
    "garbage",  # an answer that is no HTTP
]
CALLS: tuple[Call, ...] = ("initiate", "put", "submit", "stream", "result", "media")
"""What each job asks."""
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
DRIP = 0.002
"""Seconds between two bytes."""
_SEED = re.compile(rb'"seed": ?(\d+)')


class Fault(NamedTuple):
    call: Call
    kind: Kind


class Chosen:
    """The first so many calls of a kind suffer a fault."""

    def __init__(self, call: Call, kind: Kind, times: int = 1) -> None:
        self.call, self.left = call, times
        self.kind: Kind = kind

    def __call__(self, call: Call) -> Kind | None:
        if call != self.call or not self.left:
            return None
        self.left -= 1
        return self.kind


class Injector:
    """In a thread, at `url`. choose: which fault a call suffers now, if any. submitted: the seeds of the
    orders that went on to the server."""

    def __init__(self, target: int, choose: Callable[[Call], Kind | None] = lambda call: None) -> None:
        """target: the server's port on this computer."""
        self.choose = choose
        self.submitted: list[int] = []
        self.met: list[Fault] = []
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None] | None] = set()
        """Kept here: nothing else holds on to a task whose client is gone without a word."""

    def __enter__(self) -> Self:
        self._thread.start()
        # as many digits as the server's own port, so that one can stand for the other in an answer of a known length
        port = _free_port(len(str(self._target)))
        starting = asyncio.start_server(self._serve, "127.0.0.1", port)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._loop.call_soon_threadsafe(self._server.close)
        time.sleep(0.05)
        for task in asyncio.all_tasks(self._loop):
            self._loop.call_soon_threadsafe(task.cancel)
        time.sleep(0.05)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await self._answer(reader, writer)
            finally:
                self._serving.discard(task)
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection ends with its answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        call = call_of(head)
        kind = self.choose(call)
        if kind is not None:
            self.met.append(Fault(call, kind))
        if kind == "reset before":
            return _reset(writer)
        if kind in ("429", "500", "502", "503"):
            return await _say(writer, int(kind))
        if kind == "garbage":
            writer.write(b"\x16\x03\x01 what is this?\r\n\r\n")
            return await writer.drain()
        if call == "submit":
            self.submitted += [int(found) for found in _SEED.findall(body)[:1]]
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            ours.write(self._as_theirs(_closing(head) + body))
            await ours.drain()
            await self._pass_on(theirs, writer, kind)
        finally:
            ours.close()

    async def _pass_on(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Kind | None) -> None:
        if kind is None:
            while piece := await theirs.read(65536):
                writer.write(self._as_ours(piece))
                await writer.drain()
            return
        answer = self._as_ours(await theirs.read(-1))
        head, _, body = answer.partition(b"\r\n\r\n")
        whole = head + b"\r\n\r\n"
        match kind:
            case "reset after":
                return _reset(writer)
            case "504 after":
                return await _say(writer, 504)
            case "stall":
                await asyncio.sleep(3600)
            case "stall within" | "reset within" | "cut short":
                writer.write(whole + body[: len(body) // 2])
                await writer.drain()
                await asyncio.sleep(0.02)
                if kind == "reset within":
                    return _reset(writer)
                if kind == "stall within":
                    await asyncio.sleep(3600)
            case "length too long" | "length too short":
                said = len(body) * 2 + 10 if kind == "length too long" else len(body) // 2
                head = re.sub(rb"(?i)\r\n(content-length|transfer-encoding):[^\r]*", b"", head)
                writer.write(head + b"\r\nContent-Length: %d\r\n\r\n" % said + body)
            case "drip":
                for index in range(len(answer)):
                    writer.write(answer[index : index + 1])
                    if writer.is_closing():
                        return
                    if index % 64 == 0:
                        await writer.drain()
                        await asyncio.sleep(DRIP)
            case _:
                raise AssertionError(kind)
        await writer.drain()

    def _as_theirs(self, data: bytes) -> bytes:
        """With the server's port where ours stands: its hosts let in whoever names it rightly."""
        return data.replace(f"127.0.0.1:{self.port}".encode(), f"127.0.0.1:{self._target}".encode())

    def _as_ours(self, data: bytes) -> bytes:
        return data.replace(f"127.0.0.1:{self._target}".encode(), f"127.0.0.1:{self.port}".encode())


def _closing(head: bytes) -> bytes:
    head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
    return head[:-4] + b"\r\nConnection: close\r\n\r\n"


def call_of(head: bytes) -> Call:
    method, path, _ = head.split(b" ", 2)
    path = path.partition(b"?")[0]
    if path.endswith(b"/initiate"):
        return "initiate"
    if b"/platform/" in path:
        return "listing"
    if b"/requests/" in path:
        last = path.rpartition(b"/")[2]
        names: dict[bytes, Call] = {b"stream": "stream", b"status": "status", b"cancel": "cancel"}
        return names.get(last, "result")
    if method == b"PUT":
        return "put"
    return "submit" if method == b"POST" else "media"


def _reset(writer: asyncio.StreamWriter) -> None:
    """Not a polite end but an RST, as when a router forgets the connection."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _say(writer: asyncio.StreamWriter, status: int) -> None:
    body = b"<html>no</html>"
    if status == 429:
        body = b'{"detail": "Too many requests"}'
    writer.write(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
    await writer.drain()


def _free_port(digits: int) -> int:
    for _ in range(10_000):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if len(str(port)) == digits:
            return port
    for port in range(10 ** (digits - 1) + 37, 10**digits, 7):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
