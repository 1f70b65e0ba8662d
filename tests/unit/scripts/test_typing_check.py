"""Which files scripts/check has pyright check, and what it makes of the answer."""

from pathlib import Path
from typing import Any

import pytest

from scripts import typing_check


class Project:
    """A small project, and a pyright that says of every file with "wrong" in it that it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def pyright(self, files: list[Path]) -> list[dict[str, Any]]:
        self.asked = sorted(path.relative_to(self.root).as_posix() for path in files)
        wrong = [path for path in files if "wrong" in path.read_text()]
        return [{"file": str(path), "range": {"start": {"line": 2}}, "message": "It is\n  wrong."} for path in wrong]

    def check(self, **options: bool) -> list[str]:
        """The lines that were told; `asked` says of which files pyright was asked."""
        for cached in (typing_check._text_digest, typing_check._imports, typing_check._surroundings):
            cached.cache_clear()
        self.asked = []
        return typing_check.problems(**options)[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path)
    plugin = tmp_path / "build" / "plugin" / "unflatten"
    for name, value in {"ROOT": tmp_path, "ASSEMBLED": plugin, "SHARED": ("shared.py",)}.items():
        monkeypatch.setattr(typing_check, name, value)
    monkeypatch.setattr(typing_check, "KNOWN_GOOD", tmp_path / "build" / "types.json")
    monkeypatch.setattr(typing_check, "_pyright", project.pyright)
    for name in ("pyproject.toml", "requirements-dev.lock", "install.py", "bridge/shared.py", "bridge/leaf.py"):
        project.write(name, "")
    project.write("bridge/middle.py", "from bridge import leaf")
    project.write("tests/test_top.py", "import bridge.middle")
    project.write("plugin/unflatten/wire.py", "from .shared import what")
    return project


PLUGIN = ["build/plugin/unflatten/shared.py", "build/plugin/unflatten/wire.py"]
BRIDGE = ["bridge/leaf.py", "bridge/middle.py", "bridge/shared.py"]


def test_only_what_changed_and_what_imports_it_is_checked_anew(project: Project) -> None:
    assert project.check() == [] and project.asked == [*BRIDGE, *PLUGIN, "install.py", "tests/test_top.py"]
    assert project.check() == [] and project.asked == []
    project.write("bridge/leaf.py", "changed = True")
    assert project.check() == [] and project.asked == ["bridge/leaf.py", "bridge/middle.py", "tests/test_top.py"]
    project.write("bridge/shared.py", "what = 1")
    assert project.check() == [] and project.asked == ["bridge/shared.py", *PLUGIN]
    (project.root / "bridge" / "leaf.py").unlink()
    assert project.check() == [] and project.asked == ["bridge/middle.py", "tests/test_top.py"]


def test_everything_is_checked_when_asked_for_or_when_settings_or_stubs_change(project: Project) -> None:
    project.check()
    assert project.check(anew=True) == [] and len(project.asked) == 7
    project.write("pyproject.toml", "[tool.pyright]")
    assert project.check() == [] and len(project.asked) == 7
    project.write("typings/cv2.pyi", "")
    assert project.check() == [] and len(project.asked) == 7


def test_a_file_with_an_error_is_checked_each_time_until_it_is_mended(project: Project) -> None:
    project.write("bridge/leaf.py", "wrong")
    for _ in range(2):
        assert project.check() == ["bridge/leaf.py:3: It is wrong. (syntax)"]
    assert project.asked == ["bridge/leaf.py"]
    project.write("bridge/leaf.py", "")
    assert project.check() == []


def test_an_error_in_the_assembled_plugin_is_told_where_its_source_is(project: Project) -> None:
    project.write("bridge/shared.py", "wrong")
    project.write("plugin/unflatten/wire.py", "wrong")
    places = [line.split(":")[0] for line in project.check()]
    assert places == ["bridge/shared.py", "bridge/shared.py", "plugin/unflatten/wire.py"]
