"""The models' weights: whole, damaged or missing."""

import json
import shutil
from pathlib import Path

import pytest

from bridge import weights
from bridge.weights import check_weights
from installer.journey import verify_weights
from installer.say import Failure


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of every folder of weights, which check_weights then takes for the real ones."""
    backends = Path(weights.__file__).parent / "backends"
    for pins in backends.glob(f"**/{weights.PINS}"):
        shutil.copytree(pins.parent, tmp_path / "backends" / pins.parent.relative_to(backends))
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "weights.py"))
    return tmp_path


def test_they_come_whole_and_with_their_licences() -> None:
    checked = check_weights()
    assert checked and not [each.problem for each in checked if each.problem]
    for each in checked:
        assert list(each.file.parent.glob("LICENSE*"))
    verify_weights()


def test_no_weights_come_without_a_pin() -> None:
    folder = Path(weights.__file__).parent
    pinned = {each.file for each in check_weights()}
    assert {file for file in folder.rglob("*") if file.suffix in (".onnx", ".safetensors", ".pth", ".bin")} == pinned


def test_one_flipped_bit_is_seen(copied: Path) -> None:
    [first, *others] = check_weights()
    data = bytearray(first.file.read_bytes())
    data[len(data) // 2] ^= 1
    first.file.write_bytes(data)
    assert "is damaged" in check_weights()[0].problem
    assert [each.problem for each in check_weights()[1:]] == [""] * len(others)
    with pytest.raises(Failure, match="is damaged") as told:
        verify_weights()
    assert "complete copy" in told.value.next_step


def test_a_missing_file_is_named(copied: Path) -> None:
    first = check_weights()[0].file
    first.unlink()
    assert check_weights()[0].problem == f"{first} is missing."


def test_pins_are_full_digests() -> None:
    for pins in (Path(weights.__file__).parent / "backends").glob(f"**/{weights.PINS}"):
        for pin in json.loads(pins.read_text("utf-8")).values():
            assert len(bytes.fromhex(pin["sha256"])) == 32
