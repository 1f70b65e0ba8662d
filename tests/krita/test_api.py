"""The plugin's contract with Krita holds in the Krita that is here."""

import ast
import inspect
import os
import subprocess
from pathlib import Path

import pytest

from plugin.unflatten import krita_api
from tests.krita.window import Krita

PLUGIN = Path(__file__).parents[2] / "plugin" / "unflatten"
PROTOCOLS = {
    name: each
    for name, each in vars(krita_api).items()
    if inspect.isclass(each) and each.__module__ == krita_api.__name__
}
WRITTEN_DOWN = {name for each in PROTOCOLS.values() for name in vars(each) if not name.startswith("_")}


def arity(function: object) -> int:
    return len(inspect.signature(function).parameters) - 1  # type: ignore[arg-type]


@pytest.mark.krita
@pytest.mark.parametrize("kind", PROTOCOLS)
def test_every_call_is_there_with_that_many_arguments(krita: Krita, kind: str) -> None:
    wanted = {
        name: arity(method)
        for name, method in vars(PROTOCOLS[kind]).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    found = krita.signatures(kind=kind, names=list(wanted))
    assert wanted, kind
    for name, count in wanted.items():
        assert found[name] is not None, f"{kind}.{name} is not in this Krita"
        fewest, most = found[name]
        assert fewest <= count <= most, f"{kind}.{name} takes {fewest} to {most} arguments, not {count}"


def test_the_plugin_calls_nothing_of_krita_that_is_not_written_down() -> None:
    """Calls on documents, nodes, windows and Krita itself are found by the variable they are made on."""
    owners = {"document", "_document", "group", "layer", "node", "root", "app", "view"}
    unknown = set()
    files = [file for file in PLUGIN.glob("*.py") if "krita_api import" in file.read_text()]
    assert {"actions", "batch", "canvas", "layers", "session"} <= {file.stem for file in files}
    for file in files:
        for call in (each for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, ast.Call)):
            function = call.func
            if isinstance(function, ast.Attribute) and _owner(function.value) in owners - {function.attr}:
                unknown |= {f"{file.name}: {function.attr}"} - {f"{file.name}: {name}" for name in WRITTEN_DOWN}
    assert not unknown


@pytest.mark.krita
def test_kritas_start_does_not_wait_for_the_websocket_client(programs: None, plugin: Path) -> None:
    """Krita's own Python, without Krita: of what the plugin loads at Krita's start, all but the menu entries."""
    code = "import sys, unflatten.session, unflatten.progress; print([e for e in sys.modules if 'websocket' in e])"
    environment = {"PATH": os.defpath, "PYTHONPATH": str(plugin)}
    told = subprocess.run(["python3", "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


def _owner(value: ast.expr) -> str:
    """The last name of `canvas.document` or `document`; "app" for application()."""
    if isinstance(value, ast.Attribute):
        return value.attr
    if isinstance(value, ast.Name):
        return value.id
    if isinstance(value, ast.Call) and ast.unparse(value) == "application()":
        return "app"
    return ""
