"""Small files that ask for hundreds of megabytes, or for ever. Each is written as a file, by name."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.unit.files.samples import TiffPage, chunk, deep_png, saved, tiff, with_chunks
from tests.unit.files.stacks import opaque

MANY = 700 * 2**20
PIECE = 2**20


def zeros_in_zip(path: Path, start: bytes = b"", method: int = zipfile.ZIP_DEFLATED) -> None:
    """An ORA whose merged image is `start` and 700 MB of zeros."""
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("mergedimage.png", "w", force_zip64=True) as out:
        out.write(start)
        for _ in range(MANY // PIECE):
            out.write(bytes(PIECE))


def many_entries(path: Path, count: int = 1_000_000) -> None:
    """A zip of a million entries that say of themselves that they are there."""
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%07d" % number for number in range(count))
    at = 30
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), at)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, at + len(directory), 1)
    end += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(b"PK\3\4" + bytes(at - 4) + directory + end)


def huge_tile(path: Path) -> None:
    page = TiffPage(opaque(1, 64, 64)[..., :3])
    page.tags = {322: (4, [20_000]), 323: (4, [25_000]), 324: (4, [8]), 325: (4, [64 * 64 * 3])}
    path.write_bytes(tiff(page))


def huge_strip(path: Path) -> None:
    """Few rows, but a strip that says it unpacks to gigabytes."""
    page = TiffPage(opaque(1, 64, 64)[..., :3])
    packed = zlib.compress(bytes(200 * PIECE))
    data = tiff(page)
    page.tags = {259: (3, [8]), 273: (4, [len(data) + 400]), 279: (4, [len(packed)]), 278: (4, [2**32 - 1])}
    data = tiff(page)
    page.tags[273] = (4, [len(data)])
    path.write_bytes(tiff(page) + packed)


def many_offsets(path: Path) -> None:
    """A strip's place for each of 30 million strips."""
    page = TiffPage(opaque(1, 64, 64)[..., :3])
    page.tags = {273: (4, [8])}
    data = bytearray(tiff(page))
    at = data.index(struct.pack("<HHI", 273, 4, 1))
    data[at : at + 12] = struct.pack("<HHII", 273, 4, 30_000_000, len(data))
    path.write_bytes(data + bytes(120_000_000))


def many_samples(path: Path) -> None:
    page = TiffPage(opaque(1, 64, 64)[..., :3])
    page.tags = {277: (3, [65_535])}
    path.write_bytes(tiff(page))


def endless_pages(path: Path) -> None:
    """A directory whose next one is itself."""
    data = bytearray(tiff(TiffPage(opaque(1, 64, 64)[..., :3])))
    data[-4:] = data[4:8]
    path.write_bytes(data)


def png_text(path: Path, kind: bytes, head: bytes) -> None:
    """A compressed chunk that unpacks to 700 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(PIECE)) for _ in range(MANY // PIECE)) + packer.flush()
    path.write_bytes(with_chunks(saved(opaque(1, 40, 50), "PNG"), *[chunk(kind, head + packed)] * 3))


def png_long_text(path: Path) -> None:
    path.write_bytes(with_chunks(saved(opaque(1, 40, 50), "PNG"), chunk(b"tEXt", b"x\0" + bytes(300 * PIECE))))


def png_many_chunks(path: Path) -> None:
    path.write_bytes(with_chunks(saved(opaque(1, 40, 50), "PNG"), chunk(b"teSt", b"") * 8_000_000))


def png_many_late_chunks(path: Path) -> None:
    png = saved(opaque(1, 40, 50), "PNG")
    path.write_bytes(png[:-12] + chunk(b"teSt", b"") * 8_000_000 + png[-12:])


def png_pixels(path: Path, depth: int) -> None:
    """40×50 pixels, and 700 MB in the place of their bytes."""
    png = deep_png(np.zeros((40, 50, 3), np.uint16)) if depth == 16 else saved(opaque(1, 40, 50), "PNG")
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(PIECE)) for _ in range(MANY // PIECE)) + packer.flush()
    path.write_bytes(png[:33] + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def gif_remark(path: Path) -> None:
    """A remark of 100 MB, which is put together 255 bytes at a time."""
    gif = saved(opaque(1, 40, 50)[..., 0], "GIF")
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    path.write_bytes(gif[:at] + b"!\xfe" + (b"\xff" + bytes(255)) * 400_000 + b"\0" + gif[at:])


def gif_huge(path: Path) -> None:
    """A small canvas with a frame of 65,535 × 65,535."""
    gif = bytearray(saved(opaque(1, 40, 50)[..., 0], "GIF"))
    at = gif.index(b",", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    gif[at + 5 : at + 9] = b"\xff" * 4
    path.write_bytes(gif)


def webp_huge(path: Path) -> None:
    """A canvas of 16,384 × 16,384 around a small picture."""
    webp = bytearray(saved(opaque(1, 40, 50), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"))
    webp[24:30] = b"\xff\x3f\0\xff\x3f\0"
    path.write_bytes(webp)


def jpeg_segments(path: Path) -> None:
    """300 MB of descriptions before the picture."""
    jpeg = saved(opaque(1, 40, 50)[..., :3], "JPEG")
    path.write_bytes(jpeg[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * 4_800 + jpeg[2:])


def psd_lengths(path: Path, at: int) -> None:
    """A section that says it is 4 GB long. at: 26 for the palette, 30 for the resources, 34 for the layers."""
    header = bytearray(struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 64, 64, 8, 3) + bytes(12) + b"\0\1" + bytes(1000))
    header[at : at + 4] = b"\xff" * 4
    path.write_bytes(header)


def psd_deflated(path: Path) -> None:
    """64×64 pixels that unpack to 700 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(PIECE)) for _ in range(MANY // PIECE)) + packer.flush()
    path.write_bytes(struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 64, 64, 8, 3) + bytes(12) + b"\0\2" + packed)


def psd_rows(path: Path) -> None:
    """Rows of 65,535 bytes each for a picture of 64 × 64."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 64, 64, 8, 3) + bytes(12) + b"\0\1"
    path.write_bytes(header + b"\xff" * (64 * 3 * 2) + b"\x81\0" * (64 * 3 * 32_768))


BOMBS: dict[str, Callable[[Path], None]] = {
    "tile.tif": huge_tile,
    "strip.tif": huge_strip,
    "offsets.tif": many_offsets,
    "samples.tif": many_samples,
    "endless.tif": endless_pages,
    "zeros.ora": zeros_in_zip,
    "png-and-zeros.ora": lambda path: zeros_in_zip(path, saved(opaque(1, 40, 50), "PNG")[:-12]),
    "deep-and-zeros.ora": lambda path: zeros_in_zip(path, deep_png(np.zeros((40, 50, 3), np.uint16))[:-12]),
    "bzip2.ora": lambda path: zeros_in_zip(path, method=zipfile.ZIP_BZIP2),
    "lzma.ora": lambda path: zeros_in_zip(path, method=zipfile.ZIP_LZMA),
    "entries.ora": many_entries,
    "ztxt.png": lambda path: png_text(path, b"zTXt", b"x\0\0"),
    "itxt.png": lambda path: png_text(path, b"iTXt", b"x\0\1\0\0\0"),
    "iccp.png": lambda path: png_text(path, b"iCCP", b"x\0\0"),
    "text.png": png_long_text,
    "chunks.png": png_many_chunks,
    "late-chunks.png": png_many_late_chunks,
    "pixels-8.png": lambda path: png_pixels(path, 8),
    "pixels-16.png": lambda path: png_pixels(path, 16),
    "remark.gif": gif_remark,
    "frame.gif": gif_huge,
    "canvas.webp": webp_huge,
    "segments.jpg": jpeg_segments,
    "palette.psd": lambda path: psd_lengths(path, 26),
    "resources.psd": lambda path: psd_lengths(path, 30),
    "layers.psd": lambda path: psd_lengths(path, 34),
    "deflated.psd": psd_deflated,
    "rows.psd": psd_rows,
}
