"""What the pixels of a PNG unpack to, counted before a decoder sees them."""

import zlib

from bridge.errors import BadPicture

PIECE = 2**20
FIRST = 8
"""Where the first chunk begins, after the signature."""


def check_stream(data: bytes, most: int, name: str) -> None:
    """Raise BadPicture where the pixels of the PNG `data` unpack to more than `most` bytes.

    A decoder takes no more memory for that, but it unpacks to the end, and a megabyte can hold a gigabyte of zeros.
    """
    stream, unpacked, at = zlib.decompressobj(), 0, FIRST
    while at + 8 <= len(data) and not stream.eof:
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            rest = data[at + 8 : at + 8 + length]
            while rest:
                unpacked += len(stream.decompress(rest, PIECE))
                rest = stream.unconsumed_tail
                if unpacked > most:
                    raise BadPicture(
                        f"{name} holds much more than a picture of its size, or is damaged.",
                        "Open it in Krita, export it as PNG, and try that.",
                    )
        at += length + 12
