"""A session's end of the wire: a thread that sends the picture, and hands on what comes back as events.

Only strings, numbers and bytes cross between the threads. Krita is never touched here, and no exception leaves: a
traceback would keep Krita's objects alive after Krita has freed them.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from . import protocol
from .launch import Installation, Trouble, ensure
from .pixels import SRGB8, Space
from .wire import Gone, Refused, Stopped, Wire
from .wire import Pixels as Piece

VERSION = "0.1.0"

# The thread may be this many events (of at most a chunk of pixels each) ahead of the canvas.
_AHEAD = 16
# A piece with the begun row before it, however wide the picture.
_ROOM = protocol.CHUNK + 2**18
_LISTEN = 0.1
# Seconds for a bridge that is there, but does not say welcome.
_PATIENCE = 10.0
# Answers to `attach` which say that the bridge has nothing of the job, so that it can only be given again.
_FORGOTTEN = ("unknown_job", "interrupted", "gone")


@dataclass(frozen=True)
class Request:
    """What a decomposition needs, besides the pixels.

    strip: rows in each piece that `Pixels` is given. view_pieces: how many more it is given, of the 8-bit sRGB view; 0
    where the pixels are that themselves.
    """

    document: str
    width: int
    height: int
    strip: int
    profile: str
    dpi: float
    space: Space = SRGB8
    view_pieces: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    backend: str = ""
    batch: bool = False

    @property
    def strips(self) -> int:
        return -(-self.height // self.strip)

    def header(self, job: str, profile_bytes: int) -> str:
        picture = {
            "width": self.width,
            "height": self.height,
            "model": self.space.model,
            "depth": self.space.depth,
            "channels": self.space.order,
            "profile": self.profile,
            "profile_bytes": profile_bytes,
            "dpi": self.dpi,
            "chunks": self.strips,
            "view_chunks": self.view_pieces,
        }
        fields: dict[str, Any] = {"settings": self.settings, "document": self.document, "picture": picture}
        if self.backend:
            fields["backend"] = self.backend
        return protocol.encode("decompose", job=job, batch=self.batch, **fields)


class Pixels:
    """The picture's strips, top to bottom, then its view's pieces: added by the main thread, awaited by the other.

    Before the first comes the colour profile; empty where it is sRGB.
    """

    def __init__(self) -> None:
        self.strips: list[Any] = []
        self._profile: bytes | None = None
        self._arrival = threading.Condition()

    def begin(self, profile: bytes) -> None:
        with self._arrival:
            self._profile = profile
            self._arrival.notify_all()

    def add(self, strip: Any) -> None:
        with self._arrival:
            self.strips.append(strip)
            self._arrival.notify_all()

    def profile(self, stopped: Callable[[], bool]) -> bytes:
        self._await(lambda: self._profile is not None, stopped)
        return self._profile or b""

    def get(self, number: int, stopped: Callable[[], bool]) -> Any:
        self._await(lambda: len(self.strips) > number, stopped)
        return self.strips[number]

    def _await(self, arrived: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        with self._arrival:
            while not arrived():
                if stopped():
                    raise Stopped
                self._arrival.wait(_LISTEN)


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
    """The stack to come, back to front. opaque: whether the picture is, everywhere."""

    layers: tuple[PlannedLayer, ...]
    opaque: bool


@dataclass(frozen=True)
class Rows:
    """Whole rows of layer `index`, in Krita's order of channels, at the start of `buffer`.

    size: their bytes. The buffer is lent: Connection.take_back wants it when the rows are written.
    """

    index: int
    left: int
    top: int
    width: int
    height: int
    size: int
    buffer: bytearray


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
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._job = ""
        self._opaque = True
        self._sent = False
        self._accepted = False
        self._outline: Outline | None = None
        self._have: set[int] = set()

    def stop(self) -> None:
        """Cancel the job, if there still is one, and end the thread. Returns at once."""
        self._stopping.set()

    def take_back(self, rows: Rows) -> None:
        """Use the buffer of rows that are written once more: fresh memory costs more than the pixels' whole way."""
        self._buffers.put(rows.buffer)

    def run(self) -> None:
        try:
            self._carry()
        except Stopped:
            return
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
        except Gone:
            self._emit(Stage("The bridge went away: starting it again"))
            try:
                self._converse()
            except Gone:
                raise Trouble(
                    "The bridge stopped while the layers were being made.",
                    "Your picture is unchanged. Try again; if it happens again, run “unflatten doctor” in a terminal.",
                    "connection",
                ) from None

    def _converse(self) -> None:
        wire = self._enter()
        try:
            if self._accepted:
                wire.send_text(protocol.encode("attach", job=self._job, have=sorted(self._have)))
            else:
                self._submit(wire)
            self._listen(wire)
        except Stopped:
            self._take_leave(wire)
        finally:
            wire.close()

    def _enter(self) -> Wire:
        """A wire on which the bridge has said welcome.

        A bridge that was killed still takes connections for a moment, and one that starts may still be in its way.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                wire = self._connect()
                try:
                    self._greet(wire)
                    return wire
                except BaseException:
                    wire.close()
                    raise
            except Gone:
                if time.monotonic() > end or self._stopping.wait(_LISTEN):
                    raise

    def _connect(self) -> Wire:
        card = ensure(self._installation, self._stopping.is_set, lambda: self._emit(Stage("Starting the bridge")))
        try:
            return Wire(card.port, card.token, self._stopping.is_set)
        except Refused as refused:
            raise Trouble(
                f"The bridge refused the plugin (answer {refused}).",
                "Restart Krita. If that does not help, run “python3 install.py” again.",
                "refused",
            ) from None

    def _greet(self, wire: Wire) -> None:
        wire.send_text(protocol.encode("hello", protocol=protocol.VERSION, client="krita", version=VERSION))
        welcome = self._message(wire)
        problem = protocol.version_problem(welcome.get("protocol"))
        if problem:
            raise Trouble(problem, code="protocol")

    def _submit(self, wire: Wire) -> None:
        self._job = uuid.uuid4().hex
        self._emit(Stage("Sending the picture"))
        request = self._request
        profile = self._pixels.profile(self._stopping.is_set)
        wire.send_text(request.header(self._job, len(profile)))
        buffer = bytearray()
        for number in range(request.strips + request.view_pieces):
            buffer[:] = memoryview(self._pixels.get(number, self._stopping.is_set))
            wire.send_bytes(buffer)
            if number < request.strips:
                self._opaque = self._opaque and request.space.is_opaque(buffer)
        if profile:
            wire.send_bytes(bytearray(profile))
        self._sent = True

    def _listen(self, wire: Wire) -> None:
        while True:
            message = self._message(wire)
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
                self._receive(wire, message)
            elif kind == "done":
                self._emit(Done(message["report"]))
                return
            elif kind == "error" and message["code"] in _FORGOTTEN and self._outline is None:
                self._submit(wire)
            elif kind == "error":
                raise _trouble(message)

    def _plan(self, message: dict[str, Any]) -> None:
        layers = tuple(PlannedLayer(str(layer["name"]), _rect(layer["rect"])) for layer in message["layers"])
        outline = Outline(layers, self._opaque)
        if self._outline is None:
            self._outline = outline
            self._emit(outline)
        elif outline != self._outline:
            # Taken up again after a crash, the job came out otherwise: its layers do not belong with those we have.
            raise Trouble("The bridge stopped while the layers were arriving.", "Try again.", "connection")

    def _receive(self, wire: Wire, message: dict[str, Any]) -> None:
        """Hand on a layer in runs of whole rows, as they come."""
        index = message["index"]
        left, top, width, height = _rect(message["rect"])
        stride = width * self._request.space.pixel_size
        row, begun = 0, b""  # begun: the first bytes of a row whose rest is in the next piece
        for _ in range(message["chunks"]):
            piece = wire.receive()
            if not isinstance(piece, Piece):
                raise protocol.ProtocolError("Text arrived where a layer's pixels were due.")
            size = len(begun) + piece.size
            buffer = self._buffer(size)
            view = memoryview(buffer)
            view[: len(begun)] = begun
            wire.read_into(view[len(begun) : size])
            rows = size // stride
            begun = bytes(view[rows * stride : size])
            view.release()
            if row + rows > height:
                break
            if rows:
                self._emit(Rows(index, left, top + row, width, rows, rows * stride, buffer))
                row += rows
        if row != height or begun:
            raise protocol.ProtocolError("A layer arrived with a wrong number of pixels.")
        self._have.add(index)

    def _buffer(self, size: int) -> bytearray:
        """A buffer of `size` bytes or more."""
        try:
            buffer = self._buffers.get_nowait()
        except queue.Empty:
            buffer = bytearray()
        return buffer if len(buffer) >= size else bytearray(max(size, min(_ROOM, 2 * size)))

    def _message(self, wire: Wire) -> dict[str, Any]:
        data = wire.receive()
        if not isinstance(data, str):
            raise protocol.ProtocolError("Pixels arrived that belong to no layer.")
        message = protocol.decode(data, protocol.SERVER_MESSAGES)
        if message["type"] == "error" and "job" not in message:
            raise _trouble(message)
        return message

    def _take_leave(self, wire: Wire) -> None:
        """Cancel the job. Before the picture is whole there is none yet: leaving is enough."""
        try:
            if self._sent:
                wire.send_text(protocol.encode("cancel", job=self._job))
        except Gone:
            return

    def _emit(self, event: Event) -> None:
        while not self._stopping.is_set():
            try:
                self.events.put(event, timeout=_LISTEN)
                return
            except queue.Full:
                continue


def _rect(value: Sequence[int]) -> tuple[int, int, int, int]:
    left, top, width, height = (int(each) for each in value)
    return left, top, width, height


def _trouble(message: dict[str, Any]) -> Trouble:
    return Trouble(str(message["message"]), str(message["hint"]), str(message["code"]))
