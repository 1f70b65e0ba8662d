"""The connection to the bridge for one job: a thread that sends the picture and hands on what comes back as events.

Only strings, numbers and bytes cross between the threads. Krita is never touched here, and no exception leaves the
thread: a traceback would keep Krita's objects alive after Krita has freed them.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from . import protocol
from .errors import Stopped, UnflattenError
from .job import Choices, Done, Failed, JobEvent, JobRequest, LayerRows, Outline, Progressed, Stacked, Whole
from .launch import Installation, find_or_start
from .upload import Upload
from .wire import BinaryFrame, Gone, Refused, Silent, Wire

# The thread may be this many events (of at most a chunk of pixels each) ahead of the canvas.
_AHEAD = 16
# Bytes for a piece with the begun row before it, however wide the picture.
_BUFFER_SIZE = protocol.CHUNK + 2**18
# Seconds between two looks at whether the job was stopped.
_POLL = 0.1
# Seconds for a bridge that is there, but does not say welcome.
_WELCOME_WITHIN = 10.0
# Answers to `attach` which say that the bridge has nothing of the job, so that it can only be given again.
_FORGOTTEN = ("unknown_job", "interrupted", "gone")
# Width and height to ask an estimate for where only its answer to the settings matters.
_ANY_SIZE = 1024
_REINSTALL = "Run “python3 install.py” again, then restart Krita."


def connect(installation: Installation, stopped: Callable[[], bool], tell: Callable[[Progressed], None]) -> Wire:
    """A connection on which the bridge has said welcome; `tell` hears of it where a bridge must be started first.

    Raises UnflattenError, ProtocolError, Gone, and Stopped where `stopped` says so.
    """
    # A bridge that was killed still takes connections for a moment, and one that starts may not answer yet.
    end = time.monotonic() + _WELCOME_WITHIN
    while True:
        try:
            wire = _open(installation, stopped, tell)
            try:
                _say_hello(wire)
                return wire
            except BaseException:
                wire.close()
                raise
        except Gone:
            if time.monotonic() > end or stopped():
                raise
            time.sleep(_POLL)


def _open(installation: Installation, stopped: Callable[[], bool], tell: Callable[[Progressed], None]) -> Wire:
    found = find_or_start(installation, stopped, lambda: tell(Progressed("Starting the bridge")))
    try:
        return Wire(found.port, found.token, stopped)
    except Silent:
        raise UnflattenError(
            "The bridge that does the work runs, but does not answer.",
            f"End the process “python -m bridge.server” (number {found.pid}), then try again.",
            "connection",
        ) from None
    except Refused as refused:
        raise UnflattenError(
            f"The bridge refused the plugin (answer {refused}).",
            "Restart Krita. If that does not help, run “python3 install.py” again.",
            "refused",
        ) from None


def _say_hello(wire: Wire) -> None:
    wire.send_text(protocol.encode("hello", protocol=protocol.VERSION))
    problem = protocol.version_problem(read_message(wire).get("protocol"))
    if problem:
        raise UnflattenError(problem, code="protocol")


def read_message(wire: Wire) -> dict[str, Any]:
    """The bridge's next message. Raises UnflattenError where it is an error that belongs to no job, ProtocolError, Gone
    and Stopped."""
    data = wire.receive()
    if not isinstance(data, str):
        raise protocol.ProtocolError("Pixels arrived that belong to no layer.")
    message = protocol.decode(data, protocol.SERVER_MESSAGES)
    if message["type"] == "error" and "job" not in message:
        raise UnflattenError.from_message(message)
    return message


def check(installation: Installation, choices: Choices) -> None:
    """Have the bridge check these choices. Raises UnflattenError where it cannot use them, or cannot be reached."""
    try:
        wire = connect(installation, lambda: False, lambda progress: None)
        try:
            wire.send_text(protocol.encode("estimate", width=_ANY_SIZE, height=_ANY_SIZE, **choices.fields()))
            read_message(wire)
        finally:
            wire.close()
    except Gone as gone:
        raise UnflattenError("The bridge went away.", str(gone), "connection") from None
    except protocol.ProtocolError as error:
        raise UnflattenError(str(error), _REINSTALL, "protocol") from None


class JobConnection(threading.Thread):
    """Sends one job to the bridge and receives its layers. `events` ends with Done or Failed, unless it is stopped."""

    def __init__(self, installation: Installation, request: JobRequest, upload: Upload) -> None:
        super().__init__(name="unflatten-connection", daemon=True)
        self.events: queue.Queue[JobEvent] = queue.Queue(_AHEAD)
        self._installation = installation
        self._request = request
        self._upload = upload
        self._stopping = threading.Event()
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._job = ""
        self._opaque = True
        self.sent = False
        """Whether the whole picture is on its way."""
        self._accepted = False
        self._stack: Stacked | None = None
        self._have: set[int] = set()

    def stop(self) -> None:
        """Cancel the job, if there still is one, and end the thread. Returns at once."""
        self._stopping.set()

    def take_back(self, rows: LayerRows) -> None:
        """Use the buffer of rows that are written once more: fresh memory costs more than all else on their way."""
        self._buffers.put(rows.buffer)

    def run(self) -> None:
        """The thread's work."""
        try:
            self._run_job()
        except Stopped:
            return
        except UnflattenError as error:
            self._emit(Failed(error.message, error.hint, error.code, error.kind))
        except protocol.ProtocolError as error:
            self._emit(Failed(str(error), _REINSTALL, "protocol"))
        except Exception as error:
            self._emit(Failed("The connection to the bridge failed.", f"{type(error).__name__}: {error}", "internal"))

    def _run_job(self) -> None:
        """Twice at most: when the bridge goes away in the middle, it is started again and the job taken up there."""
        try:
            self._run_once()
        except Gone:
            self._emit(Progressed("The bridge went away: starting it again"))
            try:
                self._run_once()
            except Gone:
                raise UnflattenError(
                    "The bridge stopped while the layers were being made.",
                    "Your picture is unchanged. Try again; if it happens again, run “unflatten doctor” in a terminal.",
                    "connection",
                ) from None

    def _run_once(self) -> None:
        wire = connect(self._installation, self._stopping.is_set, self._emit)
        try:
            if self._accepted:
                wire.send_text(protocol.encode("attach", job=self._job, have=sorted(self._have)))
            else:
                self._submit(wire)
            self._listen(wire)
        except Stopped:
            self._cancel(wire)
        finally:
            wire.close()

    def _submit(self, wire: Wire) -> None:
        self._job = uuid.uuid4().hex
        self._emit(Progressed("Sending the picture"))
        request, stopped = self._request, self._stopping.is_set
        profile = self._upload.profile(stopped)
        wire.send_text(request.message(self._job, len(profile)))
        buffer = bytearray()
        for number in range(request.strips + request.view_pieces):
            buffer[:] = memoryview(self._upload.get(number, stopped))
            wire.send_bytes(buffer)
            if number < request.strips:
                self._opaque = self._opaque and request.space.is_opaque(buffer)
        if profile:
            wire.send_bytes(bytearray(profile))
        self.sent = True

    def _listen(self, wire: Wire) -> None:
        while True:
            message = read_message(wire)
            kind = message["type"]
            if kind == "accepted":
                self._accepted = True
                ahead = message["position"]
                others = f"{ahead} other picture{'s' * (ahead != 1)}"
                self._emit(Progressed(f"Waiting for {others}" if ahead else "Looking at the picture"))
            elif kind == "progress":
                step, steps, left = message["step"], message["steps"], message.get("seconds_left")
                self._emit(Progressed(message["stage"], step, steps, left))
            elif kind == "stack":
                self._plan(message)
            elif kind == "layer":
                self._receive(wire, message)
            elif kind == "done":
                self._finish(message)
                return
            elif kind == "error" and message["code"] in _FORGOTTEN and self._stack is None:
                self._submit(wire)
            elif kind == "error":
                raise UnflattenError.from_message(message)

    def _plan(self, message: dict[str, Any]) -> None:
        layers = tuple(Outline(str(layer["name"]), _rect(layer["rect"])) for layer in message["layers"])
        stack = Stacked(layers, self._opaque)
        if self._stack is None:
            self._stack = stack
            self._emit(stack)
        elif stack != self._stack:
            # Taken up again after a crash, the job came out otherwise: its layers do not belong with those we have.
            raise UnflattenError("The bridge stopped while the layers were arriving.", "Try again.", "connection")

    def _receive(self, wire: Wire, message: dict[str, Any]) -> None:
        """Hand on a layer in runs of whole rows, as they come."""
        index = message["index"]
        left, top, width, height = rect = _rect(message["rect"])
        if self._stack is None or index not in range(len(self._stack.layers)) or self._stack.layers[index].rect != rect:
            raise protocol.ProtocolError("A layer arrived that is not in the stack.")
        stride = width * self._request.space.pixel_size
        row, begun = 0, b""  # begun: the first bytes of a row whose rest is in the next piece
        for _ in range(message["chunks"]):
            piece = wire.receive()
            if not isinstance(piece, BinaryFrame):
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
                self._emit(LayerRows(index, left, top + row, width, rows, rows * stride, buffer))
                row += rows
        if row != height or begun:
            raise protocol.ProtocolError("A layer arrived with a wrong number of pixels.")
        self._have.add(index)
        if len(self._have) == len(self._stack.layers):
            self._emit(Whole())

    def _finish(self, message: dict[str, Any]) -> None:
        if self._stack is None or len(self._have) != len(self._stack.layers):
            raise UnflattenError("The bridge did not send all layers.", "Try again.", "connection")
        self._emit(Done(message["report"]))

    def _buffer(self, size: int) -> bytearray:
        """A buffer of `size` bytes or more."""
        try:
            buffer = self._buffers.get_nowait()
        except queue.Empty:
            buffer = bytearray()
        return buffer if len(buffer) >= size else bytearray(max(size, min(_BUFFER_SIZE, 2 * size)))

    def _cancel(self, wire: Wire) -> None:
        """Cancel the job. Before the picture is whole there is none yet: closing the connection is enough."""
        try:
            if self.sent:
                wire.send_text(protocol.encode("cancel", job=self._job))
        except Gone:
            return

    def _emit(self, event: JobEvent) -> None:
        while not self._stopping.is_set():
            try:
                self.events.put(event, timeout=_POLL)
                return
            except queue.Full:
                continue


def _rect(value: Sequence[int]) -> tuple[int, int, int, int]:
    left, top, width, height = (int(each) for each in value)
    return left, top, width, height
