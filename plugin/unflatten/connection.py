"""A session's end of the wire: a thread that sends the picture, and hands on what comes back as events.

Only strings, numbers and bytes cross between the threads. Krita is never touched here, and no exception leaves: a
traceback would keep Krita's objects alive after Krita has freed them.
"""

from __future__ import annotations

import queue
import struct
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from . import protocol
from .launch import Installation, Trouble, ensure
from .pixels import BYTES_PER_PIXEL, swap_red_and_blue
from .vendor.websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from .vendor.websockets.sync.client import ClientConnection, connect

VERSION = "0.1.0"

# The thread may be this many events (of at most a chunk of pixels each) ahead of the canvas.
_AHEAD = 16
_LISTEN = 0.1
_GONE = (OSError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage)
# Answers to `attach` which say that the bridge has nothing of the job, so that it can only be given again.
_FORGOTTEN = ("unknown_job", "interrupted")


@dataclass(frozen=True)
class Request:
    """What a decomposition needs, besides the pixels. strip: rows in each piece that `Pixels` is given."""

    document: str
    width: int
    height: int
    strip: int
    profile: str
    dpi: float
    settings: dict[str, Any] = field(default_factory=dict)
    backend: str = ""
    batch: bool = False

    def header(self, job: str) -> str:
        picture = {
            "width": self.width,
            "height": self.height,
            "model": "RGBA",
            "depth": "U8",
            "profile": self.profile,
            "dpi": self.dpi,
            "chunks": -(-self.height // self.strip),
            "view_chunks": 0,
        }
        fields: dict[str, Any] = {"settings": self.settings, "document": self.document, "picture": picture}
        if self.backend:
            fields["backend"] = self.backend
        return protocol.encode("decompose", job=job, batch=self.batch, **fields)


class Pixels:
    """The picture's strips, top to bottom: added by the main thread, awaited by the connection's."""

    def __init__(self) -> None:
        self.strips: list[Any] = []
        self._arrival = threading.Condition()

    def add(self, strip: Any) -> None:
        with self._arrival:
            self.strips.append(strip)
            self._arrival.notify_all()

    def get(self, number: int, stopped: Callable[[], bool]) -> Any:
        with self._arrival:
            while len(self.strips) <= number:
                if stopped():
                    raise Trouble("Cancelled.", code="cancelled")
                self._arrival.wait(_LISTEN)
            return self.strips[number]


@dataclass(frozen=True)
class Stage:
    """What the bridge is doing, for the user. seconds_left: None where it cannot tell."""

    text: str
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class PlannedLayer:
    """A layer of the stack to come. rect: left, top, width, height on the canvas."""

    name: str
    rect: tuple[int, int, int, int]


@dataclass(frozen=True)
class Outline:
    """The stack to come, back to front."""

    layers: tuple[PlannedLayer, ...]


@dataclass(frozen=True)
class Rows:
    """Whole rows of layer `index`, in Krita's order of channels. last: with these the layer is complete."""

    index: int
    left: int
    top: int
    width: int
    height: int
    pixels: bytearray
    last: bool


@dataclass(frozen=True)
class Done:
    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    message: str
    hint: str
    code: str


Event = Union[Stage, Outline, Rows, Done, Failed]


class Connection(threading.Thread):
    """Carries one request to the bridge and its answer back. `events` ends with Done or Failed, unless stopped."""

    def __init__(self, installation: Installation, request: Request, pixels: Pixels) -> None:
        super().__init__(name="unflatten-connection", daemon=True)
        self.events: queue.Queue[Event] = queue.Queue(_AHEAD)
        self._installation = installation
        self._request = request
        self._pixels = pixels
        self._stopping = threading.Event()
        self._job = ""
        self._sent = False
        self._accepted = False
        self._outline: Outline | None = None
        self._have: set[int] = set()

    def stop(self) -> None:
        """Cancel the job, if there still is one, and end the thread. Returns at once."""
        self._stopping.set()

    def run(self) -> None:
        try:
            self._carry()
        except Trouble as trouble:
            self._emit(Failed(trouble.message, trouble.hint, trouble.code))
        except protocol.ProtocolError as error:
            self._emit(Failed(str(error), "Run “python3 install.py” again, then restart Krita.", "protocol"))
        except Exception as error:
            self._emit(Failed("The connection to the bridge failed.", f"{type(error).__name__}: {error}", "internal"))

    def _carry(self) -> None:
        """Twice at most: when the bridge goes away in the middle, it is started again and taken up where it was."""
        try:
            self._converse()
        except _GONE:
            self._emit(Stage("The bridge went away: starting it again"))
            try:
                self._converse()
            except _GONE:
                raise Trouble(
                    "The bridge stopped while the layers were being made.",
                    "Your picture is unchanged. Try again; if it happens again, run “unflatten doctor” in a terminal.",
                    "connection",
                ) from None

    def _converse(self) -> None:
        with self._door() as door:
            try:
                self._greet(door)
                if self._accepted:
                    have = sorted(self._have)
                    door.send(protocol.encode("attach", job=self._job, have=have))
                else:
                    self._submit(door)
                self._listen(door)
            except Trouble as trouble:
                if trouble.code == "cancelled":
                    self._take_leave(door)
                else:
                    raise

    def _door(self) -> ClientConnection:
        card = ensure(self._installation, self._stopping.is_set, lambda: self._emit(Stage("Starting the bridge")))
        try:
            # No keep-alive pings: while Krita holds Python's lock for one of its long calls nobody could answer them.
            return connect(
                f"ws://127.0.0.1:{card.port}{protocol.PATH}",
                additional_headers={"Authorization": f"Bearer {card.token}"},
                compression=None,
                proxy=None,
                max_size=protocol.CHUNK + 2**16,
                max_queue=8,
                open_timeout=20,
                ping_interval=None,
                close_timeout=1,
            )
        except InvalidStatus as error:
            raise Trouble(
                f"The bridge refused the plugin (answer {error.response.status_code}).",
                "Restart Krita. If that does not help, run “python3 install.py” again.",
                "refused",
            ) from None

    def _greet(self, door: ClientConnection) -> None:
        door.send(protocol.encode("hello", protocol=protocol.VERSION, client="krita", version=VERSION))
        welcome = self._message(door)
        problem = protocol.version_problem(welcome.get("protocol"))
        if problem:
            raise Trouble(problem, code="protocol")

    def _submit(self, door: ClientConnection) -> None:
        self._job = uuid.uuid4().hex
        self._emit(Stage("Sending the picture"))
        try:
            door.send(self._request.header(self._job))
            for number in range(-(-self._request.height // self._request.strip)):
                strip = self._pixels.get(number, self._stopping.is_set)
                _send_bytes(door, swap_red_and_blue(memoryview(strip)))
            self._sent = True
        except _GONE:
            self._reason(door)
            raise

    def _reason(self, door: ClientConnection) -> None:
        """Raise what the bridge said before it shut the door on a picture that it would not take."""
        try:
            while True:
                message = protocol.decode(str(door.recv(timeout=1)), protocol.SERVER_MESSAGES)
                if message["type"] == "error":
                    raise _trouble(message)
        except (TimeoutError, protocol.ProtocolError, *_GONE):
            return

    def _listen(self, door: ClientConnection) -> None:
        while True:
            message = self._message(door)
            kind = message["type"]
            if kind == "accepted":
                self._accepted = True
                ahead = message["position"]
                others = f"{ahead} other picture{'s' * (ahead != 1)}"
                self._emit(Stage(f"Waiting for {others}" if ahead else "Looking at the picture"))
            elif kind == "progress":
                self._emit(Stage(message["stage"], message["step"], message["steps"], message.get("seconds_left")))
            elif kind == "stack":
                self._plan(message)
            elif kind == "layer":
                self._receive(door, message)
            elif kind == "done":
                self._emit(Done(message["report"]))
                return
            elif kind == "error" and message["code"] in _FORGOTTEN and self._outline is None:
                self._submit(door)
            elif kind == "error":
                raise _trouble(message)

    def _plan(self, message: dict[str, Any]) -> None:
        layers = tuple(PlannedLayer(str(layer["name"]), _rect(layer["rect"])) for layer in message["layers"])
        outline = Outline(layers)
        if self._outline is None:
            self._outline = outline
            self._emit(outline)
        elif outline != self._outline:
            # Taken up again after a crash, the job came out otherwise: its layers do not belong with those we have.
            raise Trouble("The bridge stopped while the layers were arriving.", "Try again.", "connection")

    def _receive(self, door: ClientConnection, message: dict[str, Any]) -> None:
        """Hand on a layer in runs of whole rows, as they come."""
        index = message["index"]
        left, top, width, height = _rect(message["rect"])
        stride = width * BYTES_PER_PIXEL
        pending = bytearray()
        row = 0
        for _ in range(message["chunks"]):
            data = self._next(door)
            if isinstance(data, str):
                raise protocol.ProtocolError("Text arrived where a layer's pixels were due.")
            pending += data
            rows = min(len(pending) // stride, height - row)
            if rows:
                whole = memoryview(pending)[: rows * stride]
                pixels = swap_red_and_blue(whole)
                whole.release()
                del pending[: rows * stride]
                row += rows
                self._emit(Rows(index, left, top + row - rows, width, rows, pixels, row == height))
        if row != height or pending:
            raise protocol.ProtocolError("A layer arrived with a wrong number of pixels.")
        self._have.add(index)

    def _message(self, door: ClientConnection) -> dict[str, Any]:
        data = self._next(door)
        if not isinstance(data, str):
            raise protocol.ProtocolError("Pixels arrived that belong to no layer.")
        message = protocol.decode(data, protocol.SERVER_MESSAGES)
        if message["type"] == "error" and "job" not in message:
            raise _trouble(message)
        return message

    def _next(self, door: ClientConnection) -> str | bytes:
        while not self._stopping.is_set():
            try:
                return door.recv(timeout=_LISTEN)
            except TimeoutError:
                continue
        raise Trouble("Cancelled.", code="cancelled")

    def _take_leave(self, door: ClientConnection) -> None:
        """Cancel the job. Before the picture is whole there is none yet: leaving is enough."""
        try:
            if self._sent:
                door.send(protocol.encode("cancel", job=self._job))
        except _GONE:
            return

    def _emit(self, event: Event) -> None:
        while not self._stopping.is_set():
            try:
                self.events.put(event, timeout=_LISTEN)
                return
            except queue.Full:
                continue


def _send_bytes(door: ClientConnection, data: bytearray) -> None:
    """One binary frame with a masking key of zero.

    A client must mask what it sends, which is meant for proxies on the way. Over the loopback there are none, a key of
    zero is as legal as any, and masking with it changes nothing: no 35 ms for each 8 MiB in pure Python.
    """
    size = len(data)
    if size < 126:
        header = struct.pack("!BBxxxx", 0x82, 0x80 | size)
    elif size < 2**16:
        header = struct.pack("!BBHxxxx", 0x82, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQxxxx", 0x82, 0x80 | 127, size)
    with door.protocol_mutex:
        door.socket.sendall(header)
        door.socket.sendall(data)


def _rect(value: Sequence[int]) -> tuple[int, int, int, int]:
    left, top, width, height = (int(each) for each in value)
    return left, top, width, height


def _trouble(message: dict[str, Any]) -> Trouble:
    return Trouble(str(message["message"]), str(message["hint"]), str(message["code"]))
