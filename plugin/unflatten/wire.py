"""A WebSocket client for 127.0.0.1, fast with large binary frames.

The websockets library does the handshake, the text frames, the pings and the closing. Only the payload of binary frames
is read and written here, straight between socket and buffer: in pure Python the library copies each byte several times
and masks what it sends, and all the while it holds Python's lock, which Krita's window needs.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Stopped
from .protocol import CHUNK, PATH
from .vendor.websockets.client import ClientProtocol
from .vendor.websockets.exceptions import InvalidStatus
from .vendor.websockets.frames import Frame, Opcode
from .vendor.websockets.protocol import State
from .vendor.websockets.uri import parse_uri

# Bytes of a text frame.
_LONGEST_TEXT = 2**24
# Seconds that one wait on the socket takes, after which `stopped` is asked again.
_POLL = 0.1
# Seconds for connecting, and for the answer to the handshake.
_HANDSHAKE_WITHIN = 10.0
# Seconds for what the bridge still has to send when the connection is closed.
_CLOSE_WITHIN = 1.0
_NOTHING_YET = (TimeoutError, socket.timeout)  # the same from Python 3.10 on


class Gone(Exception):
    """The bridge is no longer there, or has closed the connection."""


class Silent(Gone):
    """Something took the connection, but does not say a word."""


class Refused(Exception):
    """The bridge does not let this client in. The text is its HTTP status."""


@dataclass(frozen=True)
class BinaryFrame:
    """A binary frame has begun: its `size` bytes are to be read with Wire.read_into."""

    size: int


class Wire:
    """One WebSocket connection, used by one thread. `stopped` is asked while it waits.

    Each method may raise Gone, and Stopped where `stopped` says so; the constructor also Refused.
    """

    def __init__(self, port: int, token: str, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}{PATH}"), max_size=_LONGEST_TEXT)
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=_HANDSHAKE_WITHIN)
        except OSError as error:
            raise Gone(str(error)) from None
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshake(token)
            self._socket.settimeout(_POLL)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the connection, and read for a moment what the bridge still sends.

        A socket closed with unread bytes in it resets the connection, and what was sent last (a cancel) would be lost.
        """
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._flush()
                self._socket.shutdown(socket.SHUT_WR)
                end = time.monotonic() + _CLOSE_WITHIN
                rest = bytearray(2**16)
                while time.monotonic() < end and self._socket.recv_into(rest):
                    pass
        except (Gone, Stopped, OSError):
            pass
        finally:
            self._socket.close()

    def send_text(self, text: str) -> None:
        """One text frame."""
        self._protocol.send_text(text.encode())
        self._flush()

    def send_bytes(self, data: bytearray) -> None:
        """One binary frame with a masking key of zero.

        A client must mask what it sends, to protect proxies on the way. On 127.0.0.1 there are none, a key of zero is
        as legal as any, and masking with it changes nothing: this saves 35 ms for each 8 MiB in pure Python.
        """
        size = len(data)
        if size < 126:
            header = struct.pack("!BBxxxx", 0x82, 0x80 | size)
        elif size < 2**16:
            header = struct.pack("!BBHxxxx", 0x82, 0x80 | 126, size)
        else:
            header = struct.pack("!BBQxxxx", 0x82, 0x80 | 127, size)
        self._send(header)
        self._send(data)

    def receive(self) -> str | BinaryFrame:
        """The next text frame, or the announcement of a binary one, whose payload must be read next, with read_into."""
        while True:
            self._check_stopped()
            head = self._read(2)
            opcode, size = head[0] & 0x0F, head[1] & 0x7F
            if size == 126:
                head += self._read(2)
                (size,) = struct.unpack("!H", head[2:])
            elif size == 127:
                head += self._read(8)
                (size,) = struct.unpack("!Q", head[2:])
            if opcode == Opcode.BINARY and head[0] & 0x80 and not head[1] & 0x80:
                if size > CHUNK:
                    raise Gone("more pixels in one piece than agreed")
                return BinaryFrame(size)
            if size > _LONGEST_TEXT:
                raise Gone("too long a message")
            self._protocol.receive_data(head + self._read(size))
            self._flush()
            if self._protocol.state is not State.OPEN:
                raise Gone(str(self._protocol.close_exc))
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    return bytes(event.data).decode()

    def read_into(self, view: memoryview) -> None:
        """Fill `view` from the socket."""
        done = 0
        while done < len(view):
            try:
                got = self._socket.recv_into(view[done:])
            except _NOTHING_YET:
                self._check_stopped()
            except OSError as error:
                raise Gone(str(error)) from None
            else:
                if not got:
                    raise Gone("the bridge hung up")
                done += got

    def _check_stopped(self) -> None:
        if self._stopped():
            raise Stopped

    def _read(self, size: int) -> bytes:
        data = bytearray(size)
        self.read_into(memoryview(data))
        return bytes(data)

    def _send(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except _NOTHING_YET:
                self._check_stopped()
            except OSError as error:
                raise Gone(str(error)) from None

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._send(data)

    def _handshake(self, token: str) -> None:
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {token}"
        self._protocol.send_request(request)
        self._flush()
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            try:
                data = self._socket.recv(2**16)
            except _NOTHING_YET:
                raise Silent("no answer") from None
            except OSError as error:
                raise Gone(str(error)) from None
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
        refusal = self._protocol.handshake_exc
        if isinstance(refusal, InvalidStatus):
            raise Refused(str(refusal.response.status_code))
        if refusal is not None:
            raise Gone(str(refusal))
        for _ in self._protocol.events_received():
            pass  # the answer to the handshake
