"""How many frames a file holds, counted by its own structure without decoding them."""

from typing import BinaryIO

MOST = 10_000
"""Frames are counted up to here."""
STEPS = 400_000
"""Blocks of a GIF that are looked at: its pieces have at most 255 bytes."""


def note_of(count: int, what: str = "frames") -> tuple[str, ...]:
    """What is said of a file of which the first of `count` pages or frames was taken: nothing where it has but one."""
    return (f"The first of {count} {what} was taken.",) if count > 1 else ()


def gif_frames(file: BinaryIO) -> int:
    """The frames of a GIF, at least 1; in a damaged or endless one those that were found."""
    file.seek(10)
    flags = file.read(3)
    if len(flags) < 3:
        return 1
    _skip_colours(file, flags[0])
    count = 0
    steps = STEPS
    while steps > 0 and count < MOST:
        kind = file.read(1)
        if kind == b",":
            place = file.read(9)
            if len(place) < 9:
                break
            _skip_colours(file, place[8])
            file.seek(1, 1)
            count += 1
        elif kind == b"!":
            file.seek(1, 1)
        else:  # the end, or what no GIF has
            break
        steps = _skip_blocks(file, steps)
    return max(1, count)


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 * 2 ** ((flags & 7) + 1), 1)


def _skip_blocks(file: BinaryIO, steps: int) -> int:
    """Go past a chain of blocks; how many steps are left."""
    while steps > 0:
        steps -= 1
        length = file.read(1)
        if length in (b"", b"\0"):
            break
        file.seek(length[0], 1)
    return steps


MOST_CHUNKS = 64
"""Of a WebP file, that may come before its picture."""


def webp_size(start: bytes) -> tuple[int, int] | None:
    """Width and height that a WebP file claims in its first 30 bytes; None where it claims none."""
    kind = start[12:16]
    if len(start) < 30:
        return None
    if kind == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF
    return None


def is_lossless_webp(file: BinaryIO) -> bool:
    """Whether a WebP file's first picture is packed without loss. The file is left where it was."""
    at = file.tell()
    file.seek(12)
    lossless = False
    for _ in range(MOST_CHUNKS):
        kind, length = file.read(4), file.read(4)
        if len(length) < 4 or kind in (b"VP8L", b"VP8 "):
            lossless = kind == b"VP8L"
            break
        size = int.from_bytes(length, "little")
        file.seek(16 if kind == b"ANMF" else size + size % 2, 1)  # a frame's own chunks follow its size and place
    file.seek(at)
    return lossless
