"""The plugin goes into a Krita and out again; what else lies there stays."""

import json
from pathlib import Path

import pytest

from bridge.krita.places import Krita
from installer.environment import Environment
from installer.place import place_plugin, take_plugin_away
from installer.plugin import ROOT
from installer.record import Record
from installer.say import Failure

SETTINGS = b"[python]\nenable_comics=true\n\n[theme]\nTheme=Krita dark"


@pytest.fixture
def krita(tmp_path: Path) -> Krita:
    return Krita("Krita", tmp_path / "share" / "krita", tmp_path / "config" / "kritarc")


def place(krita: Krita, record: Record) -> None:
    place_plugin(krita, Environment(ROOT), krita.resources.parent / "data", record)


def take_away(krita: Krita, record: Record) -> None:
    take_plugin_away(record.plugins[str(krita.resources)], Environment(ROOT))


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def saved(record: Record, folder: Path) -> Record:
    """The record as the next run of the installer reads it."""
    record.save(folder)
    found = Record.load(folder)
    (folder / "installed.json").unlink()
    return found


def test_in_a_krita_never_started_nothing_remains(krita: Krita, tmp_path: Path) -> None:
    before = tree(tmp_path)
    place(krita, record := Record())
    assert b"enable_unflatten=true" in krita.kritarc.read_bytes()
    assert (krita.plugins / "unflatten.desktop").is_file()
    take_away(krita, saved(record, tmp_path))
    assert tree(tmp_path) == before


def test_in_a_krita_in_use_everything_is_as_before(krita: Krita, tmp_path: Path) -> None:
    (krita.plugins / "comics").mkdir(parents=True)
    (krita.plugins / "comics" / "__init__.py").write_text("comics = True\n")
    krita.kritarc.parent.mkdir()
    krita.kritarc.write_bytes(SETTINGS)
    before = tree(tmp_path)
    place(krita, record := Record())
    place(krita, record := saved(record, tmp_path))  # an update in between
    take_away(krita, saved(record, tmp_path))
    assert tree(tmp_path) == before


def test_what_python_compiled_goes_and_what_the_user_put_there_stays(krita: Krita) -> None:
    place(krita, record := Record())
    plugin = krita.plugins / "unflatten"
    (plugin / "__pycache__").mkdir()
    (plugin / "__pycache__" / "actions.cpython-310.pyc").write_bytes(b"compiled")
    (plugin / "notes.txt").write_text("mine")
    take_away(krita, record)
    assert [str(path.relative_to(krita.plugins)) for path in krita.plugins.rglob("*") if path.is_file()] == [
        str(Path("unflatten/notes.txt"))
    ]


def test_once_turned_off_in_krita_it_stays_off(krita: Krita, capsys: pytest.CaptureFixture[str]) -> None:
    place(krita, record := Record())
    krita.kritarc.write_bytes(b"[python]\nenable_unflatten=false\n")
    place(krita, record)
    assert krita.kritarc.read_bytes() == b"[python]\nenable_unflatten=false\n"
    assert "stays off" in capsys.readouterr().out


def test_an_update_says_so_only_where_something_changed(krita: Krita, capsys: pytest.CaptureFixture[str]) -> None:
    place(krita, record := Record())
    capsys.readouterr()
    place(krita, record)
    assert capsys.readouterr().out == "  The plugin in Krita is up to date.\n"
    (krita.plugins / "unflatten" / "actions.py").write_text("broken")
    place(krita, record)
    assert "Updated the plugin" in capsys.readouterr().out
    original = ROOT / "plugin/unflatten/actions.py"
    assert (krita.plugins / "unflatten" / "actions.py").read_bytes() == original.read_bytes()


def test_what_another_copy_of_unflatten_has_replaced_is_that_copys(krita: Krita) -> None:
    place(krita, record := Record())
    card = krita.plugins / "unflatten" / "bridge.json"
    card.write_text(json.dumps({"python": "/another copy/.venv/bin/python", "data": ""}))
    before = tree(krita.resources), krita.kritarc.read_bytes()
    take_away(krita, record)
    assert (tree(krita.resources), krita.kritarc.read_bytes()) == before


def test_somebody_elses_plugin_of_that_name_is_not_touched(krita: Krita) -> None:
    theirs = krita.plugins / "unflatten" / "__init__.py"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs = True\n")
    with pytest.raises(Failure) as told:
        place(krita, Record())
    assert "did not make it" in told.value.message and told.value.next_step.startswith("move it away")
    assert theirs.read_text() == "theirs = True\n" and not krita.kritarc.exists()


@pytest.mark.parametrize(
    "told", ["", "{", "[]", '{"code": 1}', '{"code": "", "plugins": {"a": {"x": 1}}, "results": {}}']
)
def test_a_broken_record_counts_as_none(tmp_path: Path, told: str) -> None:
    (tmp_path / "installed.json").write_text(told)
    assert Record.load(tmp_path) == Record()
