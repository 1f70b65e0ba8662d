"""The locks: everything that is installed is named with its hash, and fits what pyproject.toml asks for."""

import ast
import re
import tomllib

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from installer.plugin import ROOT

GPU = "requirements-gpu.lock"
GPU_LOCKS = (GPU, "requirements-gpu-cuda.lock", "requirements-gpu-cpu.lock")
LOCKS = ("requirements.lock", "requirements-dev.lock", "plugin/requirements.lock", *GPU_LOCKS)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def entries(lock: str) -> list[str]:
    """Each package's lines as one, without comments."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)
    return [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]


def pinned(lock: str) -> dict[str, set[str]]:
    """Name → versions; more than one where they differ by system."""
    found: dict[str, set[str]] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.split("--hash")[0].strip())
        [pin] = requirement.specifier
        assert pin.operator == "=="
        found.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_its_hash(lock: str) -> None:
    assert entries(lock)
    for entry in entries(lock):
        assert re.search(r"==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_to_fetch_from(lock: str) -> None:
    """That is each user's own pip's business; a name here would be one that only its maker can reach."""
    text = (ROOT / lock).read_text("utf-8")
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements.lock", PROJECT["build-system"]["requires"]),
        ("requirements-dev.lock", PROJECT["project"]["optional-dependencies"]["dev"]),
    ],
)
def test_the_lock_has_what_the_project_asks_for(lock: str, wanted: list[str]) -> None:
    versions = pinned(lock)
    for requirement in map(Requirement, wanted):
        found = versions[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in found), requirement


def test_developers_run_what_users_run() -> None:
    users, developers = pinned("requirements.lock"), pinned("requirements-dev.lock")
    assert {name: developers.get(name) for name in users} == users


def test_models_run_with_what_the_bridge_runs_with() -> None:
    users, models = pinned("requirements.lock"), pinned(GPU)
    assert {name: models.get(name) for name in users} == users


def test_the_locks_for_models_have_what_the_project_asks_for() -> None:
    versions = {name: found for lock in GPU_LOCKS for name, found in pinned(lock).items()}
    for requirement in map(Requirement, PROJECT["project"]["optional-dependencies"]["gpu"]):
        found = versions[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in found), requirement
    assert pinned("requirements-gpu-cuda.lock")["torch"] == pinned("requirements-gpu-cpu.lock")["torch"]
    assert not pinned(GPU).keys() & pinned("requirements-gpu-cuda.lock").keys()
    assert "torchvision" not in versions


def test_nothing_that_needs_a_screen_library_is_installed() -> None:
    """opencv-python and opencv-python-headless are other builds of the same module, and overwrite each other."""
    names = pinned("requirements.lock")
    assert [name for name in names if name.startswith("opencv")] == ["opencv-contrib-python-headless"]


def test_the_locks_are_for_every_system() -> None:
    """Made on one system for all: what only Windows needs is there too, under its marker."""
    markers = [entry.split("--hash")[0].partition(";")[2].strip() for entry in entries("requirements.lock")]
    assert any(Marker(marker).evaluate({"sys_platform": "win32"}) for marker in markers if "win32" in marker)


def test_install_py_can_be_read_by_a_python_that_is_too_old() -> None:
    source = (ROOT / "install.py").read_text("utf-8")
    nodes = list(ast.walk(ast.parse(source, feature_version=(3, 4))))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match, ast.AsyncFunctionDef)
    assert not [node for node in nodes if isinstance(node, newer)]
    assert source.isascii()  # Python 2 refuses other letters without a declaration
    first = next(node for node in nodes if isinstance(node, ast.If))
    assert not [node for node in ast.walk(first) if isinstance(node, ast.ImportFrom) and node.lineno < 15]


@pytest.mark.parametrize("path", sorted(ROOT.glob("installer/*.py")), ids=lambda path: path.name)
def test_the_installer_runs_on_pythons_from_3_9_on(path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
