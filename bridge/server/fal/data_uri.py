"""A picture in a data URI, decoded piece by piece, each in the place of what it was."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from bridge.errors import BadPicture

LONGEST_HEAD = 1024
"""Bytes before the comma."""
SMALL = 2**14
"""Bytes with escape sequences that are decoded at a time."""

_HEAD = re.compile(rb"data:[^,]*?(;base64)?,", re.IGNORECASE)


async def decode(pieces: list[bytes]) -> None:
    """Turn the pieces of a data URI into those of its picture. Raises BadPicture.

    Not in a thread, which has its own memory: what is let go of in the one is of no use in the other.
    """
    if len(pieces[0]) < LONGEST_HEAD:
        pieces[:2] = [b"".join(pieces[:2])]
    start = _HEAD.match(pieces[0], 0, LONGEST_HEAD)
    if start is None:
        raise _bad("damaged")
    pieces[0] = pieces[0][start.end() :]
    is_base64 = start[1] is not None
    try:
        await _decode_each(pieces, _base64 if is_base64 else _percent, _base64_end if is_base64 else _percent_end)
    except (ValueError, binascii.Error):
        raise _bad("damaged") from None
    if not any(pieces):
        raise _bad("empty")


async def _decode_each(pieces: list[bytes], decode: Callable[[bytes], bytes], end: Callable[[bytes], int]) -> None:
    """end: how much of a piece that is not the last can be decoded by itself."""
    rest = b""
    for index in range(len(pieces)):
        piece = rest + pieces[index]
        is_last = index == len(pieces) - 1
        cut = len(piece) if is_last else end(piece)
        piece, rest = piece[:cut], piece[cut:]
        pieces[index] = decode(piece)
        if decode is _base64 and not is_last and len(pieces[index]) != cut // 4 * 3:
            raise ValueError("padded in the middle")
        await asyncio.sleep(0)  # others have their turn


def _base64(piece: bytes) -> bytes:
    return base64.b64decode(piece, validate=True)


def _base64_end(piece: bytes) -> int:
    return len(piece) - len(piece) % 4


def _percent(piece: bytes) -> bytes:
    """In small pieces: the standard library makes an object of each escape sequence."""
    decoded, at = bytearray(), 0
    while at < len(piece):
        part = piece[at : at + SMALL]
        part = part[: _percent_end(part)] if at + SMALL < len(piece) else part
        decoded += unquote_to_bytes(part)
        at += len(part)
    return bytes(decoded)


def _percent_end(piece: bytes) -> int:
    """Before an escape sequence that is cut in two."""
    broken = piece.find(b"%", max(len(piece) - 2, 0))
    return len(piece) if broken < 0 else broken


def _bad(how: str) -> BadPicture:
    return BadPicture(f"The picture's data URI is {how}.", "Encode it again.", code="image_load_error")
