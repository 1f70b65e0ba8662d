"""What batches remember of a folder: what is done is skipped, and no file of the artist's is ever written over."""

import json
from dataclasses import replace
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


def test_what_lies_there_after_a_crash_is_whole_where_nothing_lay_there_before(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    Manifest(tmp_path).write({"a.ora": replace(entry(source, how="ora"), fresh=True)})
    assert not Manifest(tmp_path).holds("a.ora", entry(source, how="ora")), "it is not there yet"
    (tmp_path / "a.ora").write_bytes(b"renamed into its place, then the bridge died")
    assert Manifest(tmp_path).holds("a.ora", entry(source, how="ora"))
    assert not Manifest(tmp_path).holds("a.ora", entry(source, how="ora, seed 2"))


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


def named(folder: Path, *sources: str, ending: str = ".kra") -> list[str]:
    return Manifest(folder).names([Entry(source, "", "png " if ending == "" else "kra") for source in sources], ending)


def test_names_in_use_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.kra").write_bytes(b"the artist's own")
    assert named(tmp_path, "/pictures/a.png") == ["a.png.kra"]
    Manifest(tmp_path).write({"a.png.kra": Entry("/pictures/a.png", "", "kra")})
    assert named(tmp_path, "/other/a.png") == ["other-a.kra"]
    assert named(tmp_path, "/other/a.png", "/pictures/a.png") == ["other-a.kra", "a.png.kra"], "what is there stays"
    Manifest(tmp_path).write({"a.ora": Entry("/pictures/a.png", "", "ora")})
    assert named(tmp_path, "/pictures/a.png") == ["a.png.kra"], "one of another kind is another result"


LONG = "N" * 251


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (("/b/a.png", "/b/c.png"), ["a.kra", "c.kra"]),
        (("/b/a.jpg", "/b/a.png"), ["a.jpg.kra", "a.png.kra"]),
        (("/b/a.jpg", "/b/a.png", "/b/a.png.png"), ["a.jpg.kra", "a.png.kra", "a.png.png.kra"]),
        (("/b/ch1/p01.png", "/b/ch2/p01.png"), ["ch1-p01.kra", "ch2-p01.kra"]),
        (("/b/1/p/a.png", "/b/2/p/a.png", "/b/2/q/a.png"), ["1-p-a.kra", "2-p-a.kra", "q-a.kra"]),
        (("/b/Fox.png", "/b/fox.png"), ["Fox.kra", "fox (2).kra"]),
        (("/b/\xe9.png", "/b/e\u0301.png"), ["\xe9.kra", "e\u0301 (2).kra"]),
        (("/b/\xdf.png", "/b/SS.png"), ["\xdf.kra", "SS (2).kra"]),
        (("/b/caf\udce9.png", "/c/caf\udce9.png"), ["b-caf\udce9.kra", "c-caf\udce9.kra"]),
        ((f"/b/{LONG}.jpg", f"/b/{LONG}.png"), [f"{LONG}.kra", f"{LONG[:-4]} (2).kra"]),
    ],
)
def test_pictures_of_one_name_get_names_that_a_person_would_choose(
    tmp_path: Path, sources: tuple[str, ...], names: list[str]
) -> None:
    assert named(tmp_path, *sources) == names
    Manifest(tmp_path).write({name: Entry(source, "", "kra") for source, name in zip(sources, names, strict=True)})
    assert named(tmp_path, *reversed(sources)) == names[::-1], "and the same on every run"


def test_folders_of_layers_do_not_look_like_pictures(tmp_path: Path) -> None:
    assert named(tmp_path, "/b/c.png", "/b/d.png.png", ending="") == ["c", "d.png-layers"]
    assert named(tmp_path, "/b/a.jpg", "/b/a.png", ending="") == ["a.jpg-layers", "a.png-layers"]


def test_a_picture_that_was_moved_keeps_its_result(tmp_path: Path) -> None:
    source, other = tmp_path / "in" / "a.png", tmp_path / "moved" / "a.png"
    for each in (source, other):
        each.parent.mkdir()
    source.write_bytes(b"picture")
    Manifest(tmp_path).write({"a.kra": entry(source)})
    other.write_bytes(b"picture")
    assert Manifest(tmp_path).names([entry(other)], ".kra") == ["moved-a.kra"], "a copy is another picture"
    source.unlink()
    assert Manifest(tmp_path).names([entry(other)], ".kra") == ["a.kra"]


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
    assert manifest.names([entry(source)], ".kra") == ["a.png.kra"], "what lies there counts as the artist's"


def test_the_list_is_one_object_by_the_names_of_the_results(tmp_path: Path) -> None:
    Manifest(tmp_path).write({"ü.kra": Entry("/p/ü.png", "12", "kra", "34")})
    told = json.loads((tmp_path / MANIFEST_FILE).read_text("utf-8"))
    saved = {"source": "/p/ü.png", "picture": "12", "how": "kra", "result": "34", "fresh": False}
    assert told == {"done": {"ü.kra": saved}}
