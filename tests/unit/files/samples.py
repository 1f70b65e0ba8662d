"""A small file of every kind that can be opened, and a writer for TIFF files that Pillow cannot write."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from bridge.files.openraster import write_openraster
from bridge.files.psd import write_psd
from bridge.files.raster import eight_bits
from bridge.picture import Layer, Picture, Stack
from tests.unit.files.stacks import noise, opaque

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = bytes(imagecodecs.cms_profile("gray", gamma=2.2))
WIDE = bytes(imagecodecs.cms_profile("adobergb"))


def deep(seed: int, height: int, width: int, channels: int = 4) -> np.ndarray:
    """(height, width, channels) uint16 noise."""
    return np.random.default_rng(seed).integers(0, 65536, (height, width, channels), np.uint16)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """The PNG with those chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def deep_png(samples: np.ndarray, profile: bytes | None = None) -> bytes:
    """(H, W, n) uint16 as a PNG."""
    png = bytes(imagecodecs.png_encode(np.ascontiguousarray(samples if samples.shape[2] > 1 else samples[..., 0])))
    return with_chunks(png, chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))) if profile else png


@dataclass
class TiffPage:
    """samples: (H, W, n), any dtype. extra: ExtraSamples. tags: further ones, or others than the samples' own."""

    samples: np.ndarray
    photometric: int = 2
    extra: Sequence[int] = ()
    tags: dict[int, tuple[int, Sequence[int] | bytes]] = field(default_factory=dict)


def tiff(*pages: TiffPage, order: Literal["<", ">"] = "<") -> bytes:
    """An uncompressed TIFF. Tags are (type, values); type 3 is 16 bits, 4 is 32, 5 a rational, 7 bytes."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for page in pages:
        height, width, count = page.samples.shape
        data = page.samples.astype(page.samples.dtype.newbyteorder(order)).tobytes()
        kind = {"u": 1, "i": 2, "f": 3}[page.samples.dtype.kind]
        tags: dict[int, tuple[int, Any]] = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [8 * page.samples.itemsize] * count),
            259: (3, [1]),
            262: (3, [page.photometric]),
            273: (4, [len(out)]),
            277: (3, [count]),
            278: (4, [height]),
            279: (4, [len(data)]),
            339: (3, [kind] * count),
            **({338: (3, list(page.extra))} if page.extra else {}),
            **page.tags,
        }
        out += data + bytes(len(data) % 2)
        entries = b""
        for tag, (form, values) in sorted(tags.items()):
            letter = {3: "H", 4: "I", 5: "I", 7: ""}[form]
            packed = bytes(values) if form == 7 else struct.pack(f"{order}{len(values)}{letter}", *values)
            amount = len(values) // 2 if form == 5 else len(values)
            if len(packed) > 4:
                place, packed = len(out), packed + bytes(len(packed) % 2)
                out += packed
                packed = struct.pack(order + "I", place)
            entries += struct.pack(order + "HHI", tag, form, amount) + packed.ljust(4, b"\0")
        out[link : link + 4] = struct.pack(order + "I", len(out))
        out += struct.pack(order + "H", len(tags)) + entries
        link = len(out)
        out += bytes(4)
    return bytes(out)


def psd(
    planes: Sequence[np.ndarray],
    mode: int,
    *,
    layer_count: int = 0,
    version: int = 1,
    resources: dict[int, bytes] | None = None,
) -> bytes:
    """A PSD (version 1) or PSB (2) without layers, with channels (H, W) of uint8, uint16 or float32."""
    height, width = planes[0].shape
    depth = 8 * planes[0].itemsize
    header = struct.pack(">4sH6xHIIHH", b"8BPS", version, len(planes), height, width, depth, mode)
    told = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
        for number, data in (resources or {}).items()
    )
    wide = ">I" if version == 1 else ">Q"
    info = struct.pack(wide, 2) + struct.pack(">h", layer_count) + bytes(4)
    body = b"".join(plane.astype(plane.dtype.newbyteorder(">")).tobytes() for plane in planes)
    return (
        header + bytes(4) + struct.pack(">I", len(told)) + told + struct.pack(wide, len(info)) + info + b"\0\0" + body
    )


def kra(merged: bytes, space: str = "RGBA") -> bytes:
    """A Krita document with that merged image and colour space."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/x-krita")
        archive.writestr("maindoc.xml", f'<DOC><IMAGE height="4" colorspacename="{space}" width="4"></IMAGE></DOC>')
        archive.writestr("mergedimage.png", merged)
    return out.getvalue()


def saved(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    """uint8 pixels as Pillow saves them."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def animated(form: str, count: int = 3, **options: Any) -> bytes:
    frames = [Image.fromarray(opaque(seed, 40, 50)[..., :3]) for seed in range(count)]
    out = io.BytesIO()
    frames[0].save(out, form, save_all=True, append_images=frames[1:], **options)
    return out.getvalue()


def layered(write: Callable[[Stack, Picture, Path], None], pixels: np.ndarray, path: Path) -> bytes:
    """A layered file of one layer."""
    picture = Picture(pixels, view=eight_bits(pixels)) if pixels.dtype != np.uint8 else Picture(pixels)
    write(Stack((Layer("Background", pixels),), pixels.shape[1], pixels.shape[0]), picture, path)
    return path.read_bytes()


def every_kind(folder: Path) -> dict[str, bytes]:
    """A small file of every kind that is read, by a name that tells which."""
    plain, clear, sixteen = opaque(1, 40, 50), noise(2, 40, 50), deep(3, 40, 50)
    rgb = plain[..., :3]
    return {
        "8.png": saved(clear, "PNG", icc_profile=WIDE),
        "16.png": deep_png(sixteen, WIDE),
        "grey-16.png": deep_png(sixteen[..., :2]),
        "apng.png": animated("PNG"),
        "a.jpg": saved(rgb, "JPEG", icc_profile=SRGB),
        "a.webp": saved(rgb, "WEBP", lossless=True),
        "frames.webp": animated("WEBP"),
        "a.gif": animated("GIF"),
        "a.avif": saved(rgb, "AVIF"),
        "a.bmp": saved(rgb, "BMP"),
        "a.dib": saved(rgb, "DIB"),
        "8.tif": saved(rgb, "TIFF", compression="tiff_lzw"),
        "pages.tif": animated("TIFF"),
        "16.tif": tiff(TiffPage(sixteen, extra=[2])),
        "float.tif": tiff(TiffPage(sixteen.astype(np.float32) / 65535, extra=[1])),
        "cmyk.tif": tiff(TiffPage(np.dstack([clear, clear[..., :1]]), 5, [2])),
        "8.psd": layered(write_psd, clear, folder / "8.psd"),
        "16.psd": layered(write_psd, sixteen, folder / "16.psd"),
        "cmyk.psd": psd([clear[..., n % 4] for n in range(5)], 4, layer_count=-1),
        "a.psb": psd([clear[..., n] for n in range(3)], 3, version=2),
        "8.ora": layered(write_openraster, clear, folder / "8.ora"),
        "16.ora": layered(write_openraster, sixteen, folder / "16.ora"),
        "a.kra": kra(saved(clear, "PNG"), "RGBA16"),
    }
