"""`unflatten models`: listing, adding and removing, of whatever backend has models; and what doctor tells of them."""

import json
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from bridge.backends import registry
from bridge.backends.builtin.backend import Builtin
from bridge.backends.shelf import Addition, Fetching, Finding, ModelOffer, Removed
from bridge.errors import BadSettings, UnflattenError
from tests.unit.command.running import Here

GB = 10**9


class Shelf:
    """One with two models: a large one that is to be fetched, and a file of the user's own."""

    added: ClassVar[list[str]] = []
    fails: ClassVar[Exception | None] = None

    def offers(self) -> list[ModelOffer]:
        large = ModelOffer("large", "A large one", "MIT", 58.0, "45 GB on the GPU", reported=True, fits="Too large.")
        return [large, ModelOffer("mine", "Your own", "as it is", 0.5, "", here=True, own=True, notes=("/mine",))]

    def takes(self, what: str) -> bool:
        return what in ("large", "mine", "file.gguf")

    def plan(self, what: str, to: str = "") -> Addition:
        def carry_out(tell) -> None:
            tell(Fetching("a file", 29 * GB, 58 * GB))
            if self.fails:
                raise self.fails
            self.added.append(what)

        return Addition(what, 58 * GB if what == "large" else 0, 99 * GB, carry_out, (f"For: {to or 'anything'}.",))

    def remove(self, name: str) -> Removed:
        if name == "large":
            raise BadSettings("There is no model “large” here.", "Look again.")
        return Removed(name, 2 * GB, ("/mine",))

    def findings(self) -> list[Finding]:
        return [Finding("Environment for models", "not set up", False, "Set it up.", off=True)]


class Keeper(Builtin):
    name = "keeper"
    models = Shelf()


@pytest.fixture(autouse=True)
def keeper(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"builtin": registry._BACKENDS["builtin"], "keeper": "tests.unit.command.test_models:Keeper"}
    monkeypatch.setattr(registry, "_BACKENDS", both)
    monkeypatch.setattr(registry, "get", lambda name: Keeper() if name == "keeper" else Builtin())
    monkeypatch.setattr(Shelf, "added", [])
    monkeypatch.setattr(Shelf, "fails", None)


def test_the_list_is_the_same_with_and_without_its_name(here: Here) -> None:
    told = here("models")
    assert told.returncode == 0 and told.stdout == here("models", "list").stdout
    assert "large  (to be fetched, 58 GB*)" in told.stdout and "Here: Too large." in told.stdout
    assert "mine  (here, 0.5 GB)" in told.stdout and "Licence: MIT." in told.stdout
    assert "* by others' reports" in told.stdout


def test_as_json(here: Here) -> None:
    for words in (["--json"], ["list", "--json"]):
        models = json.loads(here("models", *words).stdout)["models"]
        assert [(each["backend"], each["name"], each["here"]) for each in models] == [
            ("keeper", "large", False),
            ("keeper", "mine", True),
        ]


def test_many_gb_are_fetched_only_when_that_was_agreed(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    told = here("models", "add", "large")
    assert told.returncode == 1 and "58.0 GB are to be fetched; 99 GB are free there." in told.stdout
    assert "no terminal" in told.stderr and "--yes" in told.stderr

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "")
    assert here("models", "add", "large").returncode == 130
    assert Shelf.added == []
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert here("models", "add", "large").returncode == 0
    assert Shelf.added == ["large"]


def test_with_yes_nobody_is_asked_and_progress_is_told(here: Here) -> None:
    told = here("models", "add", "large", "--yes")
    assert told.returncode == 0 and "“large” is here." in told.stdout
    assert "50 % of 58.0 GB" in told.stderr


def test_several_are_added_one_after_the_other(here: Here) -> None:
    told = here("models", "add", "file.gguf", "mine", "--to", "large")
    assert told.returncode == 0 and Shelf.added == ["file.gguf", "mine"]
    assert "For: large." in told.stdout


def test_what_is_no_model_is_said(here: Here) -> None:
    told = here("models", "add", "nonsense")
    assert told.returncode == 1 and "“nonsense” is neither a model's name nor a file or folder." in told.stderr


def test_ctrl_c_tells_how_to_go_on(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "fails", KeyboardInterrupt())
    told = here("models", "add", "large", "--yes")
    assert told.returncode == 130 and "to go on where it stopped" in told.stderr


def test_an_error_ends_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "fails", UnflattenError("The disk is full.", "Free some space."))
    told = here("models", "add", "large", "mine", "--yes")
    assert told.returncode == 1 and "The disk is full.\nFree some space." in told.stderr and Shelf.added == []


def test_removing(here: Here) -> None:
    told = here("models", "remove", "mine")
    assert told.returncode == 0 and "2.0 GB are free again" in told.stdout and "Yours stays: /mine" in told.stdout
    assert here("models", "remove", "large").returncode == 1


def test_doctor_tells_what_the_backend_finds(here: Here) -> None:
    assert "--  Environment for models: not set up" in here("doctor").stdout


def test_without_such_a_backend_there_is_nothing_to_add(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "get", lambda name: Builtin())
    assert here("models").stdout == "No splitter here uses models.\n"
    assert here("models", "add", str(Path(__file__))).returncode == 1
