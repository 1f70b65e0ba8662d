"""Who splits, with which options."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.backends import registry
from bridge.backends.base import Capabilities
from bridge.backends.choice import choose, offers
from bridge.errors import BackendUnavailable, BadSettings
from tests.unit.trial.backends import Trial, TrialOptions
from tests.unit.trial.known import register


class Absent(Trial):
    name = "absent"

    def capabilities(self, options: TrialOptions) -> Capabilities:
        return Capabilities(title="Absent", unavailable="It needs a key.", remedy="Get one.")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "_BACKENDS", dict(registry._BACKENDS))
    register()
    registry.register("absent", f"{__name__}:Absent")
    registry.register("broken", "no.such.module:Nothing")


def test_a_backend_that_cannot_run_says_why_before_any_work() -> None:
    with pytest.raises(BackendUnavailable, match="needs a key") as raised:
        choose("absent").check()
    assert raised.value.hint == "Get one."


def test_one_broken_backend_does_not_hide_the_others() -> None:
    offered = {offer["name"]: offer for offer in offers()}
    assert offered["trial"]["unavailable"] == "" and offered["broken"]["unavailable"]
    assert [name for name, offer in offered.items() if offer["default"]] == [registry.default()]


def test_a_backends_options_are_offered_as_a_schema() -> None:
    [offer] = [each for each in offers() if each["name"] == "trial"]
    shade = offer["options"]["properties"]["shade"]
    assert (shade["default"], shade["minimum"], shade["maximum"]) == (7, 0, 255)
    assert offer["options"]["properties"]["place"]["computer_wide"] is True


def test_a_jobs_own_options_go_over_what_is_decided_for_the_computer(tmp_path: Path) -> None:
    (tmp_path / "preferences.json").write_text('{"backends": {"trial": {"shade": 9, "place": "there"}}}')
    assert choose("trial").options == TrialOptions(shade=9, place="there")
    chosen = choose("trial", {"shade": 3})
    assert (chosen.options, chosen.own) == (TrialOptions(shade=3, place="there"), {"shade": 3})


def test_what_is_the_computers_is_no_jobs() -> None:
    with pytest.raises(BadSettings, match="once for this computer") as raised:
        choose("trial", {"place": "x"})
    assert "unflatten set trial-place" in raised.value.hint


def test_options_called_as_a_placements_fields_stand_for_them(tmp_path: Path) -> None:
    """What they do: tests/unit/server/test_resident_models.py."""
    decided = {"backends": {"graphics": {"keep_alive": 9, "leaves_with_client": True}}}
    (tmp_path / "preferences.json").write_text(json.dumps(decided))
    chosen = choose("graphics")
    assert chosen.placement == replace(chosen.backend.placement, keep_alive=9.0, leaves_with_client=True)
    assert choose("trial").placement == Trial.placement, "one without such options stays where it is"


def test_pictures_leave_the_computer_only_with_leave(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="you have not allowed it"):
        choose("elsewhere").check()
    (tmp_path / "preferences.json").write_text('{"remote_allowed": true}')
    choose("elsewhere").check()


def test_the_preferred_backend_splits_where_nobody_names_one(tmp_path: Path) -> None:
    assert choose().name == registry.default()
    (tmp_path / "preferences.json").write_text('{"backend": "graphics"}')
    assert choose().name == "graphics" and choose("trial").name == "trial"
