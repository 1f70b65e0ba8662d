"""The parts of a Photoshop document in which its merged image is described, read without its layers."""

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from bridge.errors import BadPicture
from bridge.limits import MAX_SIDE, check_picture

HEADER = struct.Struct(">4sH6xHIIHH")  # signature, version, channels, height, width, depth, mode
MOST_CHANNELS = 56
MOST_RESOURCE = 16 * 2**20
MOST_BLOCKS = 10_000
"""Resources and tagged blocks that are looked at, far more than programs write."""
RESOLUTION, PROFILE, ALPHAS, SEE_THROUGH_INDEX, VERSION = 1005, 1039, 1053, 1047, 1057
_WANTED = {RESOLUTION, PROFILE, ALPHAS, SEE_THROUGH_INDEX, VERSION}
_LAYERS_16 = (b"Lr16", b"Lr32", b"Layr")
_MERGED_ALPHA = (b"Mtrn", b"Mt16", b"Mt32")
_LONG = {*_LAYERS_16, *_MERGED_ALPHA, b"LMsk", b"Alph", b"FMsk", b"lnk2", b"FEid", b"FXid", b"PxSD"}
"""Blocks whose length has eight bytes in a PSB."""


@dataclass(frozen=True)
class Parts:
    """What is known of the merged image.

    depth: bits of a channel. palette: as it lies in the file. compression: of the merged image, whose bytes begin at
    `at` and end with the file. layer_count: negative where the first channel beside the colours is transparency;
    merged_alpha: whether a block says so. resources: those that matter, by number.
    """

    version: int
    channels: int
    width: int
    height: int
    depth: int
    mode: int
    palette: bytes
    compression: int
    at: int
    layer_count: int = 0
    merged_alpha: bool = False
    resources: dict[int, bytes] = field(default_factory=dict[int, bytes])


def read_parts(file: BinaryIO, name: str) -> Parts:
    """What a PSD or PSB says of its merged image. Raises BadPicture."""
    _, version, channels, height, width, depth, mode = HEADER.unpack(_take(file, HEADER.size, name))
    check_picture(width, height)
    if version not in (1, 2) or not 1 <= channels <= MOST_CHANNELS or max(width, height) > MAX_SIDE:
        raise _damaged(name)
    palette = _take(file, min(_number(file, 4, name), MOST_RESOURCE), name)
    end = _number(file, 4, name)
    end += file.tell()
    resources = _resources(file, end, name)
    file.seek(end)
    wide = 4 * version
    end = _number(file, wide, name)
    end += file.tell()
    layer_count, merged_alpha = _layer_signs(file, end, wide, name)
    file.seek(end)
    compression = _number(file, 2, name)
    at = file.tell()
    return Parts(
        *(version, channels, width, height, depth, mode, palette, compression, at),
        *(layer_count, merged_alpha, resources),
    )


def _resources(file: BinaryIO, end: int, name: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for _ in range(MOST_BLOCKS):
        if file.tell() + 12 > end:
            break
        file.seek(4, 1)
        number = _number(file, 2, name)
        file.seek(_number(file, 1, name) | 1, 1)  # its name, whose length with itself is even
        length = _number(file, 4, name)
        following = file.tell() + length + length % 2
        if number in _WANTED and length <= MOST_RESOURCE and following <= end + 1:
            found.setdefault(number, _take(file, length, name))
        file.seek(following)
    return found


def _layer_signs(file: BinaryIO, end: int, wide: int, name: str) -> tuple[int, bool]:
    """The number of layers, negative for transparency, and whether a block tells of transparency."""
    if file.tell() + wide > end:
        return 0, False
    length = _number(file, wide, name)
    after = file.tell() + length
    count = _signed(file, name) if length >= 2 else 0
    file.seek(after)
    if after + 4 <= end:
        file.seek(_number(file, 4, name), 1)
    merged_alpha = False
    for _ in range(MOST_BLOCKS):
        if file.tell() + 12 > end:
            break
        file.seek(4, 1)
        key = _take(file, 4, name)
        length = _number(file, wide if key in _LONG else 4, name)
        following = file.tell() + -(-length // 4) * 4
        merged_alpha |= key in _MERGED_ALPHA
        if key in _LAYERS_16 and length >= 2 and not count:
            count = _signed(file, name)
        file.seek(following)
    return count, merged_alpha


def _signed(file: BinaryIO, name: str) -> int:
    return int.from_bytes(_take(file, 2, name), "big", signed=True)


def _number(file: BinaryIO, nbytes: int, name: str) -> int:
    return int.from_bytes(_take(file, nbytes, name), "big")


def _take(file: BinaryIO, nbytes: int, name: str) -> bytes:
    data = file.read(nbytes)
    if len(data) < nbytes:
        raise _damaged(name)
    return data


def _damaged(name: str) -> BadPicture:
    return BadPicture(f"{name} is damaged: its end is missing.", "Get a complete copy of the picture.")
