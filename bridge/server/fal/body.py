"""A request's body, taken in within bounds: no more is ever in memory than a picture and a page of text beside it."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request

from bridge.jobs.memory import give_back_memory
from bridge.server import json_text
from bridge.server.fal.errors import FalError, detail, flat, unprocessable

MOST_JSON = 32 * 2**20
"""Bytes of a request's body. A data URI in it holds a picture of three quarters of that; larger ones are uploaded."""
MOST_TEXT = 2**18
"""Bytes of all in it but its one long text: hundreds of requests may wait with theirs."""
LONG = 2**16
"""Bytes from which on a text is long."""
MOST_LONG = 4
"""Bodies with one, or of unknown length, that are taken in at a time."""
BEGINNING = 4096
"""Bytes of a long text that stay in the JSON in its stead."""
BLOCK = 2**20
"""Bytes of one of its pieces."""
MOST_ESCAPES = 100_000
"""Escape sequences in it: no picture needs any, and each costs time."""
STALL = 60.0
"""Seconds that a body on its way in may stand still."""

_ESCAPES = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_QUOTE_OR_ESCAPE = re.compile(rb'["\\]')
_PLAIN = re.compile(rb'[^"\\]*+(?:\\/[^"\\]*+)*+')
"""As base64 is written, by those too who escape its slashes."""


class Room:
    """Bounds how many long bodies are in memory at a time; the others wait on their connections."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MOST_LONG)

    @asynccontextmanager
    async def place(self, request: Request) -> AsyncGenerator[None]:
        """Wait for a place for the request's body, where it may be a long one, and hold it."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and len(length) < 9 and int(length) < LONG:
            yield
        else:
            async with self._places:
                yield
            give_back_memory()


class JSONBody:
    """A body's JSON as it comes in pieces, its one long text set apart: `long`, not in the text that is parsed.

    A data URI is millions of characters, and JSON's reader would make copies of them; millions of small things it would
    make objects of, of many times the body's own size.
    """

    def __init__(self) -> None:
        self.long: list[bytes] = []
        self._text = bytearray()
        self._inside = False
        """Whether the next byte belongs to a text."""
        self._is_long = False
        self._had_long = False
        self._began = 0
        """Where the text that the next byte belongs to begins."""
        self._escape = b""
        """What has come of an escape sequence."""
        self._escapes = 0
        self._block = bytearray()
        self._filled = 0
        self._beginning = b""

    def feed(self, piece: bytes) -> None:
        """The next piece. Raises ValueError where there is too much beside the long text, or a second one."""
        at = 0
        while at < len(piece):
            if self._escape:
                at = self._unescape(piece, at)
                continue
            end = self._end(piece, at)
            self._keep(piece[at:end])
            if end < len(piece):
                if piece[end] == ord("\\"):
                    self._escape = b"\\"
                else:
                    self._turn()
            at = end + 1

    def _end(self, piece: bytes, at: int) -> int:
        """Where what goes on from `at` is to be looked at more closely."""
        if self._is_long:
            return cast("re.Match[bytes]", _PLAIN.match(piece, at)).end()
        if self._inside:
            found = _QUOTE_OR_ESCAPE.search(piece, at)
            return len(piece) if found is None else found.start()
        quote = piece.find(b'"', at)
        return len(piece) if quote < 0 else quote

    def read(self) -> Any:
        """What the JSON says; of the long text its beginning. Raises ValueError and RecursionError."""
        if not self._text:
            return {}
        return json_text.read(self._text.decode(json.detect_encoding(bytes(self._text[:4]))))

    def beginning(self) -> str:
        """What stands in the JSON for the long text; empty where there is none."""
        return self._beginning.decode("utf-8", "replace")

    def _turn(self) -> None:
        """A text begins, or ends."""
        if self._is_long:
            self._end_block()
            self._text += json_text.quoted(self.beginning())
            self._is_long, self._inside = False, False
            return
        self._text += b'"'
        self._inside = not self._inside
        self._began = len(self._text)

    def _keep(self, piece: bytes, *, escaped: bytes | None = None) -> None:
        """escaped: the same with its escape sequence, which a short text keeps."""
        if self._is_long:
            self._lengthen(piece.replace(b"\\/", b"/") if escaped is None else piece)
            return
        self._text += piece if escaped is None else escaped
        if self._inside and len(self._text) - self._began > LONG:
            if self._had_long:
                raise ValueError("two long texts")
            self._had_long = self._is_long = True
            self._block = bytearray(BLOCK)
            self._lengthen(_unescaped(self._text[self._began :]))
            self._beginning = bytes(self._block[:BEGINNING])
            del self._text[self._began - 1 :]
        if len(self._text) > MOST_TEXT:
            raise ValueError("too much text")

    def _lengthen(self, piece: bytes) -> None:
        """Add to the long text, in blocks: among all that comes and goes meanwhile, small ones would leave holes."""
        for at in range(0, len(piece), BLOCK):
            part = piece[at : at + BLOCK]
            if self._filled + len(part) > BLOCK:
                self._end_block()
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)

    def _end_block(self) -> None:
        self.long.append(bytes(memoryview(self._block)[: self._filled]))
        self._filled = 0

    def _unescape(self, piece: bytes, at: int) -> int:
        """Take the next byte of an escape sequence; where to go on."""
        self._escape += piece[at : at + 1]
        kind = self._escape[1:2]
        if kind in _ESCAPES:
            whole = _ESCAPES[kind]
        elif kind == b"u" and len(self._escape) < 6:
            return at + 1
        else:
            whole = _unescaped(self._escape)
        escape, self._escape = self._escape, b""
        self._escapes += 1
        if self._escapes > MOST_ESCAPES:
            raise ValueError("too many escape sequences")
        self._keep(whole, escaped=escape)
        return at + 1


def _unescaped(text: bytes | bytearray) -> bytes:
    """What is between a JSON text's quotes, as UTF-8."""
    return str(json_text.read(f'"{text.decode("utf-8")}"')).encode("utf-8", "replace")


async def read_json(request: Request) -> Any:
    """The body's JSON, whatever content type it claims, {} where there is no body. Raises FalError."""
    told, long = await read_json_and_picture(request)
    if long:
        raise too_much_text()
    return told


async def read_json_and_picture(request: Request) -> tuple[Any, list[bytes]]:
    """The same, and the data URI in its field `image_url`, in pieces, of which the JSON has the beginning; none where
    it is short enough to stand there whole."""
    body = JSONBody()
    async for piece in read_pieces(request, MOST_JSON):
        try:
            body.feed(piece)
        except UnicodeDecodeError:
            raise _no_json() from None
        except ValueError:
            raise too_much_text() from None
    try:
        told = await asyncio.to_thread(body.read)
    except (ValueError, RecursionError):  # of JSON, of UTF-8, of numbers with thousands of digits
        raise _no_json() from None
    fields = cast(dict[str, Any], told) if isinstance(told, dict) else {}
    if body.long and fields.get("image_url") != body.beginning():
        raise too_much_text()
    return cast(Any, told), body.long


async def read_pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body in pieces. Raises FalError where it is longer than `most` bytes, stands still, or is broken off."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_long(most)
    taken = 0
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(STALL):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise flat(400, "The request's body did not arrive whole.", "request_incomplete", retryable=True) from None
        except ClientDisconnect:
            raise flat(499, "The client left in the middle.", "client_disconnected") from None
        if piece is None:
            return
        taken += len(piece)
        if taken > most:
            raise _too_long(most)
        if piece:
            yield piece


def too_much_text() -> FalError:
    sentence = f"The request has more than {MOST_TEXT // 1024} KB beside its picture, which stands in image_url."
    return flat(413, sentence, "file_too_large")


def _too_long(most: int) -> FalError:
    sentence = f"The request's body is larger than {most // 2**20} MB: upload the picture, and send its address."
    return flat(413, sentence, "file_too_large")


def _no_json() -> FalError:
    return unprocessable([detail("json_invalid", "The request's body is not JSON.", ["body"])])
