"""The flattened picture inside a Photoshop document."""

import struct
import zlib
from collections.abc import Generator, Sequence
from typing import Any, BinaryIO

import numpy as np
from psd_tools.compression import decode_prediction, decode_rle
from psd_tools.constants import ColorMode, Compression

from bridge.errors import BadPicture
from bridge.files.bounded import size_of
from bridge.files.colour import Samples, Space
from bridge.files.image_file import dpi_of
from bridge.files.psd_layers import layers_differ
from bridge.files.psd_parts import ALPHAS, PROFILE, RESOLUTION, SEE_THROUGH_INDEX, VERSION, Parts, read_parts
from bridge.files.raster import COLOURS, Raster, lies_over_white, one_colour, sixteen_bits, without_white
from bridge.files.room import room
from bridge.files.tiff import LOWER_IT, float_note
from bridge.limits import check_picture

WITH_IT = "Open it in Krita and export it as PNG, or save it with “Maximize Compatibility” in Photoshop."
_SPACES: dict[int, Space] = {
    ColorMode.BITMAP: "GREY",
    ColorMode.GRAYSCALE: "GREY",
    ColorMode.DUOTONE: "GREY",
    ColorMode.RGB: "RGB",
    ColorMode.CMYK: "CMYK",
    ColorMode.LAB: "LAB",
}


def open_psd(file: BinaryIO, name: str) -> Raster:
    """The merged image of a PSD or PSB, with transparency and profile. Raises BadPicture."""
    parts = read_parts(file, name)
    _check(parts, name)
    space = _SPACES.get(parts.mode, "RGB")
    alpha = _alpha(parts)
    if parts.mode == ColorMode.INDEXED:
        samples = _through_palette(next(_planes(file, parts, [0], name)), parts)
    else:
        wanted = [*range(COLOURS[space]), *([alpha] if alpha is not None else [])]
        samples = _stacked(
            _planes(file, parts, wanted, name), parts, len(wanted), opaque=wanted == [0, 1, 2] and space == "RGB"
        )
    if one_colour(samples, space) and layers_differ(file, samples, space, parts.depth):
        raise BadPicture(f"The flattened picture in {name} is blank, though its layers are not.", WITH_IT)
    samples = _straightened(samples, space, parts, alpha)
    notes = (float_note(parts.depth),) if parts.depth == 32 else ()
    return Raster(samples, space, parts.resources.get(PROFILE), _dpi(parts), notes)


def _check(parts: Parts, name: str) -> None:
    """Raise BadPicture where the merged image is not there, or is of a kind that is not taken."""
    if parts.depth not in (1, 8, 16, 32):
        raise BadPicture(f"{name} has {parts.depth} bits per channel, which is not taken here.", LOWER_IT)
    if parts.mode not in _SPACES and parts.mode != ColorMode.INDEXED:
        raise BadPicture(
            f"{name} has colours of a kind that is not taken here.", "Convert a copy of it to RGB in Photoshop."
        )
    colours = COLOURS[_SPACES[parts.mode]] if parts.mode in _SPACES else 1
    if parts.channels < colours:
        raise BadPicture(f"{name} is damaged: channels are missing.", "Get a complete copy of the picture.")
    if parts.resources.get(VERSION, b"\0\0\0\0\1")[4:5] == b"\0":
        raise BadPicture(f"{name} was saved without its flattened picture.", WITH_IT)
    check_picture(parts.width, parts.height, (colours + 1) * max(1, parts.depth // 8))


def _alpha(parts: Parts) -> int | None:
    """Which channel of the merged image is its transparency: further ones may be selections that were kept."""
    if parts.mode not in _SPACES:
        return None
    colours = COLOURS[_SPACES[parts.mode]]
    if parts.channels <= colours:
        return None
    if parts.layer_count < 0:
        return colours
    known = parts.resources.get(ALPHAS, b"")
    numbers = struct.unpack(f">{len(known) // 4}I", known[: len(known) // 4 * 4])
    if 0 in numbers:
        return max(colours, parts.channels - len(numbers) + numbers.index(0))
    if parts.merged_alpha:
        return colours
    return None if numbers or parts.layer_count > 0 else parts.channels - 1


def _planes(file: BinaryIO, parts: Parts, wanted: Sequence[int], name: str) -> Generator[Any]:
    """The channels of those numbers, each (H, W), in the numbers of the file."""
    row = -(-parts.width * parts.depth // 8)
    read = {Compression.RAW: _raw, Compression.RLE: _run_lengths}.get(Compression(parts.compression), _deflated)
    try:
        for data in read(file, parts, wanted, row):
            yield _numbers(data, parts, row)
    except (ValueError, IndexError, zlib.error, struct.error) as problem:
        raise BadPicture(f"{name} is damaged: its end is missing.", "Get a complete copy of the picture.") from problem


def _raw(file: BinaryIO, parts: Parts, wanted: Sequence[int], row: int) -> Generator[bytes]:
    for channel in wanted:
        file.seek(parts.at + channel * parts.height * row)
        yield file.read(parts.height * row)


def _run_lengths(file: BinaryIO, parts: Parts, wanted: Sequence[int], row: int) -> Generator[bytes]:
    """PackBits, row by row; the rows' lengths come first."""
    size = parts.height * 2 * parts.version
    file.seek(parts.at)
    table = file.read(parts.channels * size)
    lengths = np.frombuffer(table, ">u2" if parts.version == 1 else ">u4").reshape(parts.channels, parts.height)
    ends = parts.at + len(table) + np.cumsum(lengths.sum(1, dtype=np.int64))
    whole = size_of(file)
    for channel in wanted:
        length = int(lengths[channel].sum(dtype=np.int64))
        if ends[channel] > whole:
            raise ValueError("rows are missing")
        file.seek(int(ends[channel]) - length)
        packed = table[channel * size : (channel + 1) * size] + file.read(length)
        yield decode_rle(packed, parts.width, parts.height, parts.depth, parts.version)


def _deflated(file: BinaryIO, parts: Parts, wanted: Sequence[int], row: int) -> Generator[bytes]:
    """All channels as one stream, of which no more is unpacked than those wanted need."""
    size = parts.height * row
    file.seek(parts.at)
    stream = zlib.decompressobj()
    packed = b""
    for channel in range(max(wanted) + 1):
        plane = bytearray()
        while len(plane) < size:
            packed = packed or file.read(2**18)
            if not packed:
                raise ValueError("the stream ends too soon")
            plane += stream.decompress(packed, size - len(plane))
            packed = stream.unconsumed_tail
            if stream.eof and len(plane) < size:
                raise ValueError("the stream ends too soon")
        if channel in wanted:
            predicted = parts.compression == Compression.ZIP_WITH_PREDICTION
            yield decode_prediction(bytes(plane), parts.width, parts.height, parts.depth) if predicted else bytes(plane)


def _numbers(data: bytes, parts: Parts, row: int) -> Any:
    if len(data) < parts.height * row:
        raise ValueError("rows are missing")
    if parts.depth == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, parts.height * row).reshape(parts.height, row), axis=1)
        return 255 * (1 - bits[:, : parts.width])  # a set bit is black
    dtype = {8: "u1", 16: ">u2", 32: ">f4"}[parts.depth]
    return np.frombuffer(data, dtype, parts.height * parts.width).reshape(parts.height, parts.width)


def _stacked(planes: Generator[Any], parts: Parts, count: int, *, opaque: bool) -> Samples:
    """The planes as (H, W, count). opaque: with alpha beside them, for which RGB would need a second array later."""
    out = room((parts.height, parts.width, count + opaque), np.uint16 if parts.depth > 8 else np.uint8)
    if opaque:
        out[..., count] = np.iinfo(out.dtype).max
    for band, plane in enumerate(planes):
        out[..., band] = sixteen_bits(plane) if parts.depth == 32 else plane
    return out


def _through_palette(plane: Any, parts: Parts) -> Samples:
    """Palette indices as RGB, or RGBA where one of them is transparent. The palette has all reds first."""
    table = np.zeros((256, 3), np.uint8)
    told = np.frombuffer(parts.palette, np.uint8)[:768]
    table[: len(told) // 3] = told[: len(told) // 3 * 3].reshape(3, -1).T
    see_through = parts.resources.get(SEE_THROUGH_INDEX)
    if see_through is None:
        return table[plane]
    alpha = np.full((256, 1), 255, np.uint8)
    alpha[min(int.from_bytes(see_through[:2], "big"), 255)] = 0
    return np.hstack([table, alpha])[plane]


def _straightened(samples: Samples, space: Space, parts: Parts, alpha: int | None) -> Samples:
    """Samples without the white under them, in which a Raster's CMYK and Lab count."""
    full = int(np.iinfo(samples.dtype).max)
    whitened = alpha is not None and space != "LAB" and parts.mode != ColorMode.DUOTONE
    if whitened and lies_over_white(samples, COLOURS[space]):
        samples = without_white(samples, COLOURS[space])
    if space == "CMYK":
        samples[..., :4] = full - samples[..., :4]  # Photoshop's largest number is no ink
    if space == "LAB" and samples.dtype == np.uint16:
        samples[..., 1:3] = np.minimum(samples[..., 1:3].astype(np.uint32) * 257 // 256, full)
    return samples


def _dpi(parts: Parts) -> float:
    told = parts.resources.get(RESOLUTION, b"")
    return dpi_of([int.from_bytes(told[:4], "big") / 65536]) if len(told) >= 4 else 72.0
