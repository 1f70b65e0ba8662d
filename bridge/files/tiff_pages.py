"""The pages of a TIFF, read from its directories alone, and which of them is the picture."""

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import BinaryIO, cast

from bridge.errors import BadPicture
from bridge.files.frames import note_of
from bridge.limits import check_picture

MOST_PAGES = 1000
MOST_ENTRIES = 4096
MOST_NUMBERS = 8 * 2**20
"""Bytes of one entry's numbers, such as the places of a picture's strips: each becomes an object in a decoder."""
MOST_BYTES = 256 * 2**20
"""Bytes of all pages' entries together. Photoshop puts its layers into one."""
TILE_PIXELS = 2**24
"""Pixels that a tile may have though the picture is smaller."""
PREVIEW = 4
"""A page is taken for a preview where another has more than so many times its pixels."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 5: "II", 13: "I", 16: "Q"}
_BYTES = (1, 2, 6, 7)

SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 254, 256, 257, 258, 262, 274, 277
X_RESOLUTION, PLANAR, UNIT, TILE_WIDTH, TILE_HEIGHT, EXTRA, FORMAT = 282, 284, 296, 322, 323, 338, 339
PROFILE, DNG = 34675, 50706
_WANTED = {
    *(SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, X_RESOLUTION, PLANAR, UNIT),
    *(TILE_WIDTH, TILE_HEIGHT, EXTRA, FORMAT, DNG),
}
MOST_VALUES = 64
"""Numbers that are read of an entry: samples of a pixel, at most."""


@dataclass(frozen=True)
class Page:
    """One directory. index: in the file's chain. numbers: the entries that matter, by tag.

    photometric_at: where in the file its colour model stands. profile_at: where its profile lies, and how many bytes.
    """

    index: int
    numbers: dict[int, tuple[int, ...]]
    order: str
    photometric_at: int = 0
    profile_at: tuple[int, int] | None = None

    def number(self, tag: int, otherwise: int = 0) -> int:
        values = self.numbers.get(tag)
        return values[0] if values else otherwise

    @property
    def width(self) -> int:
        return self.number(WIDTH)

    @property
    def height(self) -> int:
        return self.number(HEIGHT)

    @property
    def samples(self) -> int:
        return self.number(SAMPLES, 1)

    @property
    def bits(self) -> int:
        return max(self.numbers.get(BITS, (1,)))

    @property
    def is_part(self) -> bool:
        """Whether it says of itself that it is a smaller version or a mask of another page."""
        return bool(self.number(SUBFILE) & 0b101)


def chosen_page(file: BinaryIO, name: str) -> tuple[Page, tuple[str, ...]]:
    """The page that is the picture, checked for its size, and what is to be said of the others. Raises BadPicture."""
    pages = list(pages_of(file, name))
    if any(DNG in page.numbers or page.number(PHOTOMETRIC) in (32803, 34892) for page in pages):
        raise BadPicture(f"{name} is a camera's raw picture, which is not taken here.", "Export it as PNG or TIFF.")
    full = [page for page in pages if not page.is_part] or pages
    if not full:
        raise BadPicture(f"{name} is damaged: it holds no page.", "Get a complete copy of the picture.")
    largest = max(page.width * page.height for page in full)
    page = next(page for page in full if page.width * page.height * PREVIEW >= largest)
    check_page(page, name)
    if page is not full[0]:
        which = f"Page {full.index(page) + 1} of {len(full)} was taken, since the first is much smaller."
        return page, (which,)
    return page, note_of(len(full), "pages")


def check_page(page: Page, name: str) -> None:
    """Raise BadPicture where the page, or a tile of it, needs more memory than a picture within the limits."""
    check_picture(page.width, page.height, max(4, page.samples * -(-page.bits // 8)))
    tile = page.number(TILE_WIDTH) * page.number(TILE_HEIGHT)
    if tile > max(TILE_PIXELS, 2 * page.width * page.height):
        raise BadPicture(
            f"{name} is damaged: its tiles are much larger than the picture.", "Open it in Krita and save it anew."
        )


def pages_of(file: BinaryIO, name: str) -> Generator[Page]:
    """The pages in their order, at most MOST_PAGES; a damaged page ends them. Raises BadPicture for one too large."""
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack(order + "H", start[2:4])[0] == 43
    at: int = struct.unpack(order + "Q", start[8:16])[0] if big else struct.unpack(order + "I", start[4:8])[0]
    seen: set[int] = set()
    left = MOST_BYTES
    while at and at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        try:
            page, at, taken = _page(file, at, len(seen) - 1, order, big, name)
        except (struct.error, OverflowError, OSError):
            return
        left -= taken
        if left < 0:
            raise _too_much(name)
        yield page


def _page(file: BinaryIO, at: int, index: int, order: str, big: bool, name: str) -> tuple[Page, int, int]:
    """The page whose directory begins at `at`, where the next begins, and the bytes of its entries."""
    count_form, entry_form, next_form = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    entry, counted = struct.Struct(order + entry_form), struct.calcsize(order + count_form)
    file.seek(at)
    count: int = struct.unpack(order + count_form, file.read(counted))[0]
    if count > MOST_ENTRIES:
        raise _too_much(name)
    raw = file.read(count * entry.size)
    following: int = struct.unpack(order + next_form, file.read(struct.calcsize(order + next_form)))[0]
    numbers: dict[int, tuple[int, ...]] = {}
    photometric_at, profile_at, taken = 0, None, 0
    for number, (tag, kind, amount, inline) in enumerate(entry.iter_unpack(raw)):
        nbytes: int = amount * _SIZES.get(kind, 1)
        if nbytes > MOST_NUMBERS and kind not in _BYTES:
            raise _too_much(name)
        taken += nbytes
        place = at + counted + (number + 1) * entry.size - len(inline)
        if nbytes > len(inline):
            place = cast(int, struct.unpack(order + next_form, inline)[0])
        if tag == PHOTOMETRIC:
            photometric_at = place
        if tag == PROFILE:
            profile_at = place, nbytes
        if tag in _WANTED:
            numbers[tag] = _numbers(file, place, kind, min(amount, MOST_VALUES), order)
    return Page(index, numbers, order, photometric_at, profile_at), following, taken


def _numbers(file: BinaryIO, place: int, kind: int, amount: int, order: str) -> tuple[int, ...]:
    letters = _LETTERS.get(kind)
    if letters is None:
        return ()
    file.seek(place)
    return struct.unpack(f"{order}{letters * amount}", file.read(amount * _SIZES[kind]))


def _too_much(name: str) -> BadPicture:
    return BadPicture(
        f"{name} holds much more than a picture of its size, or is damaged.",
        "Open it in Krita, export it as PNG, and try that.",
    )
