"""Files of weights that are cut off, damaged or something else are told from whole ones by their headers."""

import json
import random
from pathlib import Path

import pytest

from bridge.backends.diffusers import headers
from bridge.backends.diffusers.headers import BadModel, Tensor
from tests.unit.backends.diffusers import weights

TENSORS = {"one": Tensor("BF16", (3, 4)), "two": Tensor("F8_E4M3", (8,)), "none": Tensor("F32", (0, 4))}
BLOCKS = {"plain": Tensor("F32", (3,)), "packed": Tensor("Q4_K", (2, 256)), "eight": Tensor("Q8_0", (3, 32))}


def test_safetensors_are_read(tmp_path: Path) -> None:
    assert headers.read(weights.safetensors(tmp_path / "a.safetensors", TENSORS)) == TENSORS


def test_gguf_is_read(tmp_path: Path) -> None:
    assert headers.read(weights.gguf(tmp_path / "a.gguf", BLOCKS)) == BLOCKS


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    whole = (weights.safetensors(path, TENSORS) if kind == "safetensors" else weights.gguf(path, BLOCKS)).read_bytes()
    padding = 32 if kind == "gguf" else 0  # after the last tensor, which nobody misses
    for length in range(len(whole) - padding):
        path.write_bytes(whole[:length])
        with pytest.raises(BadModel):
            headers.read(path)


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_file_of_which_a_byte_is_wrong_never_breaks_the_reader(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    whole = (weights.safetensors(path, TENSORS) if kind == "safetensors" else weights.gguf(path, BLOCKS)).read_bytes()
    chance = random.Random(5)
    for _ in range(1500):
        spoiled = bytearray(whole)
        spoiled[chance.randrange(min(len(whole), 400))] = chance.randrange(256)
        path.write_bytes(spoiled)
        try:
            headers.read(path)
        except BadModel as told:
            assert path.name in told.message and told.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"GGUF", b"<!DOCTYPE html><html>Not found</html>", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 64, b"PK\x03\x04" * 20],
    ids=["empty", "four letters", "a web page", "a list", "all ones", "an archive"],
)
@pytest.mark.parametrize("ending", ["safetensors", "gguf"])
def test_something_else_is_refused(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(BadModel):
        headers.read(tmp_path / f"a.{ending}")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "BF16", "shape": [4], "data_offsets": [0, 6]},
        {"dtype": "BF16", "shape": [4], "data_offsets": [2, 10]},
        {"dtype": "BF16", "shape": [4]},
        {"dtype": "NONE", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": "4", "data_offsets": 8},
        8,
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, entry: object) -> None:
    text = json.dumps({"a": entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(10))
    with pytest.raises(BadModel, match="damaged"):
        headers.read(path)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"anything")
    with pytest.raises(BadModel, match="neither"):
        headers.read(tmp_path / "model.ckpt")
