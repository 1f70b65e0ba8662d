"""The zip archive that an ORA or KRA file is, of which no more is unpacked than a picture needs."""

import zipfile
from typing import BinaryIO, cast

from bridge.errors import BadPicture
from bridge.files.bounded import Bounded
from bridge.files.image_file import PNG_DEPTH, PNG_START

DIRECTORY = 4 * 2**20
"""Bytes of the archive's list of entries, some thirty thousand of them."""
MOST_READ = 4 * 2**30
"""Bytes that are read of an archive in all; files are at most half as large, and some of it is read twice."""
SAVE_ANEW = "Open it in Krita and save it anew."


class _Archive(Bounded):
    """The file for zipfile, which reads the whole list of entries at once, however long that says it is."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > DIRECTORY:
            raise BadPicture("The file has too many parts to be opened, or is damaged.", SAVE_ANEW)
        return super().read(size)


def open_archive(file: BinaryIO, name: str) -> zipfile.ZipFile:
    """The archive in `file`. Raises BadPicture where it has too many entries, zipfile's errors where it is damaged."""
    return zipfile.ZipFile(cast(BinaryIO, _Archive(file, MOST_READ, name)))


def open_entry(archive: zipfile.ZipFile, entry: str, name: str) -> BinaryIO:
    """An entry of the archive, open. Raises KeyError, and BadPicture where it is packed as no ORA or KRA is."""
    info = archive.getinfo(entry)
    # The other methods' unpackers take hundreds of megabytes where a few bytes ask for them.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadPicture(f"{name} is packed in a way that ORA and KRA files are not.", SAVE_ANEW)
    if info.flag_bits & 1:
        raise BadPicture(f"{name} is locked with a password.", "Save it without one.")
    return cast(BinaryIO, archive.open(info))


def png_depth(archive: zipfile.ZipFile, entry: str, name: str) -> int | None:
    """Bits of a channel of a PNG in the archive; None where it is no PNG."""
    with open_entry(archive, entry, name) as png:
        start = png.read(PNG_DEPTH + 1)
    if len(start) < PNG_DEPTH + 1 or not start.startswith(PNG_START):
        return None
    return start[PNG_DEPTH]
