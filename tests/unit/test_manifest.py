"""What batches remember of a folder: what is done is skipped, and no file of the artist's is ever written over."""

import json
from pathlib import Path

import pytest

from bridge.manifest import MANIFEST_FILE, Entry, Manifest, digest


def entry(source: Path, how: str = "kra", result: Path | None = None) -> Entry:
    return Entry(str(source), digest(source), how, digest(result) if result else "")


def test_a_result_holds_until_its_picture_or_the_settings_change(tmp_path: Path) -> None:
    source, result = tmp_path / "a.png", tmp_path / "a.kra"
    source.write_bytes(b"picture")
    result.write_bytes(b"layers")
    Manifest(tmp_path).write({"a.kra": entry(source, result=result)})
    assert Manifest(tmp_path).holds("a.kra", entry(source))
    assert not Manifest(tmp_path).holds("a.kra", entry(source, how="kra, seed 2"))
    assert not Manifest(tmp_path).holds("b.kra", entry(source))
    source.write_bytes(b"another")
    assert not Manifest(tmp_path).holds("a.kra", entry(source))
    source.write_bytes(b"picture")
    result.unlink()
    assert not Manifest(tmp_path).holds("a.kra", entry(source))


def test_a_result_that_is_under_way_is_owned_but_not_held(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    Manifest(tmp_path).write({"a.kra": entry(source)})
    (tmp_path / "a.kra").write_bytes(b"cut off")
    assert Manifest(tmp_path).owns("a.kra") and not Manifest(tmp_path).holds("a.kra", entry(source))


def test_a_result_is_owned_until_it_is_edited(tmp_path: Path) -> None:
    source, result = tmp_path / "a.png", tmp_path / "a.kra"
    source.write_bytes(b"picture")
    result.write_bytes(b"layers")
    assert not Manifest(tmp_path).owns("a.kra")
    Manifest(tmp_path).write({"a.kra": entry(source, result=result)})
    assert Manifest(tmp_path).owns("a.kra")
    result.write_bytes(b"painted on")
    assert not Manifest(tmp_path).owns("a.kra")


def test_a_folder_of_layers_is_owned_until_a_file_in_it_changes(tmp_path: Path) -> None:
    source, layers = tmp_path / "a.png", tmp_path / "a"
    source.write_bytes(b"picture")
    layers.mkdir()
    (layers / "1.png").write_bytes(b"layer")
    Manifest(tmp_path).write({"a": entry(source, result=layers)})
    assert Manifest(tmp_path).owns("a")
    (layers / "2.png").write_bytes(b"added")
    assert not Manifest(tmp_path).owns("a")


def test_names_in_use_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.kra").write_bytes(b"the artist's own")
    manifest = Manifest(tmp_path)
    first, second = Path("/pictures/a.png"), Path("/other/a.png")
    assert manifest.name_for(first, ".kra") == "a.png.kra"
    manifest.write({"a.png.kra": entry(first)})
    assert manifest.name_for(second, ".kra") == "a.png (2).kra"
    assert manifest.name_for(first, ".kra") == "a.png.kra", "the same source keeps its name"
    manifest.write({"a.ora": entry(first)})
    assert Manifest(tmp_path).name_for(first, ".kra") == "a.png.kra", "one of another kind is another result"


def test_batches_of_several_kinds_keep_each_others_results(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    krita, command_line = Manifest(tmp_path), Manifest(tmp_path)  # both at work at the same time
    for name, manifest in {"a.kra": krita, "a.ora": command_line, "b.kra": krita, "b.psd": command_line}.items():
        (tmp_path / name).write_bytes(name.encode())
        manifest.write({name: entry(source, result=tmp_path / name)})
    names = ("a.kra", "a.ora", "b.kra", "b.psd")
    assert all(Manifest(tmp_path).holds(name, entry(source)) for name in names)
    assert Manifest(tmp_path).results() == {(tmp_path / name).resolve() for name in names}
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == [MANIFEST_FILE]


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"a.kra": 1}', '{"done": {"a.kra": {"result": "x"}}}', '{"done": 3}']
)
def test_a_damaged_list_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    source, result = tmp_path / "a.png", tmp_path / "a.kra"
    source.write_bytes(b"picture")
    result.write_bytes(b"layers")
    (tmp_path / MANIFEST_FILE).write_text(text)
    manifest = Manifest(tmp_path)
    assert not manifest.holds("a.kra", entry(source)) and not manifest.owns("a.kra")
    assert manifest.name_for(source, ".kra") == "a.png.kra", "what lies there counts as the artist's"


def test_the_list_is_one_object_by_the_names_of_the_results(tmp_path: Path) -> None:
    Manifest(tmp_path).write({"ü.kra": Entry("/p/ü.png", "12", "kra", "34")})
    told = json.loads((tmp_path / MANIFEST_FILE).read_text("utf-8"))
    assert told == {"done": {"ü.kra": {"source": "/p/ü.png", "picture": "12", "how": "kra", "result": "34"}}}
