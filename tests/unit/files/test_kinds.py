"""Which files are pictures, by what they hold and not by their name, and what is said of those that are not taken."""

import os
from pathlib import Path

import pytest
from PIL import Image

from bridge.errors import BadPicture
from bridge.files.kinds import ENDINGS, looks_like_picture
from bridge.files.load import load_picture
from tests.unit.files.opening import refused
from tests.unit.files.samples import every_kind

NOT_TAKEN = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a" + bytes(60),
    "JPEG XL in boxes": b"\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "OpenEXR": b"\x76\x2f\x31\x01\x02\0\0\0",
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": b"%PDF-1.7\n",
    "XCF": b"gimp xcf v011\0",
    "CLIP": b"CSFCHUNK" + bytes(60),
    "camera raw": b"II*\0\x10\0\0\0CR\x02\0" + bytes(60),
    "icon": b"\0\0\1\0\1\0" + bytes(60),
}


def test_a_file_of_every_kind_looks_like_a_picture_and_opens_under_any_name(tmp_path: Path) -> None:
    for name, data in every_kind(tmp_path).items():
        path = tmp_path / (name.replace(".", "-") + ".txt")
        path.write_bytes(data)
        assert looks_like_picture(path), name
        assert load_picture(path).width == 50, name


@pytest.mark.parametrize("start", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_other_kinds_are_named_with_a_way_out(tmp_path: Path, start: bytes) -> None:
    problem = refused(tmp_path, start, "is of the kind", "a.png")
    assert "xport it as PNG" in problem.hint
    assert not looks_like_picture(tmp_path / "a.png")


@pytest.mark.parametrize("data", [b"", b"P", b"Dear diary", b"PK\3\4" + bytes(60), b"BM and more text than that"])
def test_what_is_no_picture(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    assert not looks_like_picture(tmp_path / "a.png")


def test_what_cannot_be_looked_at_is_no_picture(tmp_path: Path) -> None:
    assert not looks_like_picture(tmp_path)
    assert not looks_like_picture(tmp_path / "nothing")
    assert not looks_like_picture(tmp_path / "a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert not looks_like_picture(tmp_path / "pipe")


def test_every_ending_can_be_read() -> None:
    assert {".jfif", ".jpe", ".psb", ".dib", ".gif", ".avif", ".apng"} <= set(ENDINGS)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in ENDINGS)


def test_an_avif_that_names_itself_otherwise_first(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "b.avif").write_bytes(data[:8] + b"mif1" + data[12:])
    assert looks_like_picture(tmp_path / "b.avif")
    try:
        load_picture(tmp_path / "b.avif")
    except BadPicture as problem:
        assert "kind" not in problem.message
