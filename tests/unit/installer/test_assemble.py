"""The folder that Krita loads, as the installer puts it together."""

import ast
import json
from pathlib import Path

import pytest

from installer.environment import Environment
from installer.plugin import ROOT, assemble, is_ours

OLDEST_PYTHON = (3, 9)


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("krita") / "pykrita"
    assemble(target, Environment(ROOT), Path("/data of the bridge"))
    return target


def test_every_module_is_of_a_syntax_that_the_oldest_krita_reads(assembled: Path) -> None:
    modules = sorted(assembled.rglob("*.py"))
    assert {"__init__.py", "actions.py", "protocol.py", "session.py"} <= {module.name for module in modules}
    for module in modules:
        ast.parse(module.read_text("utf-8"), str(module), feature_version=OLDEST_PYTHON)


def test_it_has_the_very_files_that_the_bridge_shares_and_knows_where_the_bridge_is(assembled: Path) -> None:
    plugin = assembled / "unflatten"
    for name in ("protocol.py", "connection_file.py", "manifest.py", "atomic_text.py"):
        assert (plugin / name).read_bytes() == (ROOT / "bridge" / name).read_bytes()
    told = json.loads((plugin / "bridge.json").read_text("utf-8"))
    assert told == {"python": str(Environment(ROOT).python), "data": str(Path("/data of the bridge"))}


def test_krita_finds_what_its_list_of_plugins_shows(assembled: Path) -> None:
    listed = (assembled / "unflatten.desktop").read_text("utf-8")
    assert "X-KDE-Library=unflatten" in listed
    assert "<html>" in (assembled / "unflatten" / "Manual.html").read_text("utf-8")


def test_the_client_comes_with_its_licence_and_without_compiled_parts(assembled: Path) -> None:
    vendor = assembled / "unflatten" / "vendor" / "websockets"
    assert "Redistribution" in (vendor / "LICENSE").read_text("utf-8")
    assert not [file for file in vendor.rglob("*") if file.suffix in (".so", ".pyd", ".c", ".pyc")]


def test_what_it_returns_is_all_there_is(assembled: Path, tmp_path: Path) -> None:
    files = assemble(tmp_path, Environment(ROOT), tmp_path)
    assert sorted(files) == sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file())
    assert is_ours(tmp_path) and is_ours(tmp_path / "empty") is None


def test_a_newer_one_leaves_nothing_of_the_older(tmp_path: Path) -> None:
    assemble(tmp_path, Environment(ROOT), tmp_path)
    (tmp_path / "unflatten" / "gone_by_now.py").write_text("x = 1\n")
    assemble(tmp_path, Environment(ROOT), tmp_path)
    assert not (tmp_path / "unflatten" / "gone_by_now.py").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["unflatten", "unflatten.desktop"]


def test_where_it_fails_the_older_one_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = assemble(tmp_path, Environment(ROOT), tmp_path)
    before = {file: (tmp_path / file).read_bytes() for file in files}

    def fail(markdown: str) -> str:
        raise OSError("no space")

    monkeypatch.setattr("installer.plugin.manual", fail)
    with pytest.raises(OSError, match="no space"):
        assemble(tmp_path, Environment(ROOT), tmp_path)
    assert {file: (tmp_path / file).read_bytes() for file in files} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["unflatten", "unflatten.desktop"]
