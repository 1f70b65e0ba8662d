"""What a file of weights says of itself: the names, types and shapes of its tensors, read without loading any.

safetensors and GGUF, with the standard library alone. A file that is cut off, or none of these, is refused.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bridge.errors import UnflattenError

LONGEST_HEADER = 100 * 2**20
MOST_TENSORS = 1_000_000
GGUF_VERSIONS = (2, 3)
GGUF_ALIGNMENT = 32
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's types of a value → struct's."""
TEXT, ARRAY = 8, 9
BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
"""safetensors' types; those of 8 bits and of 4 are in `_bits`."""
BLOCKS = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
"""GGUF's types that can be loaded: number → name, values in a block, bytes of a block."""


class BadModel(UnflattenError):
    """A file or folder is no model that can be used: damaged, cut off, or of another kind."""

    code = "bad_model"
    kind = "settings"


@dataclass(frozen=True)
class Tensor:
    """dtype: the file's own name for it, “BF16”, “F8_E4M3”, “Q4_K”. shape: rows first, as torch has it."""

    dtype: str
    shape: tuple[int, ...]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .gguf file, by name. Raises BadModel, and OSError where it can't be read."""
    match path.suffix.lower():
        case ".safetensors":
            return safetensors(path)
        case ".gguf":
            return gguf(path)
        case _:
            raise BadModel(f"{path.name} is neither a .safetensors nor a .gguf file.", "Choose a file of that kind.")


def safetensors(path: Path) -> dict[str, Tensor]:
    """Of a .safetensors file: its length must be what its header says."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= LONGEST_HEADER:
            raise _no_weights(path)
        text = file.read(length)
    if len(text) < length:
        raise _cut_off(path)
    try:
        told: dict[str, Any] = json.loads(text)
        told.pop("__metadata__", None)
        tensors = {name: Tensor(str(each["dtype"]), tuple(map(int, each["shape"]))) for name, each in told.items()}
        spans = sorted(
            (int(each["data_offsets"][0]), int(each["data_offsets"][1]), name) for name, each in told.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise _no_weights(path) from None
    end = 0
    for first, last, name in spans:
        if first != end or last < first or (last - first) * 8 != _bits(path, tensors[name]):
            raise _no_weights(path)
        end = last
    if size < 8 + length + end:
        raise _cut_off(path)
    if size > 8 + length + end:
        raise _no_weights(path)
    return tensors


def gguf(path: Path) -> dict[str, Tensor]:
    """Of a GGUF file: it must hold all that its header names."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise _no_weights(path)
        try:
            return _gguf(file, path, size)
        except (struct.error, EOFError):
            raise _cut_off(path) from None
        except (UnicodeDecodeError, KeyError, OverflowError):
            raise _no_weights(path) from None


def _gguf(file: BinaryIO, path: Path, size: int) -> dict[str, Tensor]:
    version, count, values = _numbers(file, "<IQQ")
    if version not in GGUF_VERSIONS or count > MOST_TENSORS or values > MOST_TENSORS:
        raise _no_weights(path)
    alignment = GGUF_ALIGNMENT
    for _ in range(values):
        name = _text(file)
        value = _value(file, _numbers(file, "<I")[0])
        if name == "general.alignment" and isinstance(value, int) and value > 0:
            alignment = value
    tensors: dict[str, Tensor] = {}
    end = 0
    for _ in range(count):
        name = _text(file)
        shape = _numbers(file, f"<{_numbers(file, '<I')[0]}Q")
        number, offset = _numbers(file, "<IQ")
        if number not in BLOCKS:
            raise BadModel(
                f"{path.name} holds weights of a kind ({number}) that cannot be loaded.",
                "Choose one of Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, BF16.",
            )
        dtype, values_each, bytes_each = BLOCKS[number]
        tensors[name] = Tensor(dtype, tuple(reversed(shape)))
        end = max(end, offset + math.prod(shape) // values_each * bytes_each)
    start = -(-file.tell() // alignment) * alignment
    if size < start + end:
        raise _cut_off(path)
    return tensors


def _value(file: BinaryIO, kind: int) -> object:
    if kind == TEXT:
        return _text(file)
    if kind == ARRAY:
        inner, count = _numbers(file, "<IQ")
        if inner in NUMBERS:
            _read(file, count * struct.calcsize(NUMBERS[inner]))
        else:
            for _ in range(count):
                _value(file, inner)
        return None
    return _numbers(file, f"<{NUMBERS[kind]}")[0]


def _text(file: BinaryIO) -> str:
    return _read(file, _numbers(file, "<Q")[0]).decode("utf-8")


def _numbers(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _read(file, struct.calcsize(form)))


def _read(file: BinaryIO, count: int) -> bytes:
    if count > LONGEST_HEADER:
        raise OverflowError(count)
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _bits(path: Path, tensor: Tensor) -> int:
    if tensor.dtype in BITS:
        each = BITS[tensor.dtype]
    elif tensor.dtype.startswith("F4"):
        each = 4
    elif tensor.dtype in ("I8", "U8", "BOOL") or tensor.dtype.startswith("F8"):
        each = 8
    else:
        raise _no_weights(path)
    return each * math.prod(tensor.shape)


def names(paths: list[Path]) -> Iterator[tuple[str, Tensor]]:
    """All tensors of several files of one model."""
    for path in paths:
        yield from read(path).items()


def _cut_off(path: Path) -> BadModel:
    return BadModel(f"{path.name} is cut off: it holds less than it says.", "Fetch it again.")


def _no_weights(path: Path) -> BadModel:
    return BadModel(f"{path.name} is damaged, or no file of weights at all.", "Fetch it again, or choose another.")
