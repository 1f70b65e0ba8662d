"""Every setting and every option of a backend, from each command to the backend: as it was given, or refused."""

import json
import subprocess
import time
from typing import Any

import httpx
import pytest

from bridge.command.wanted import OPTIONS, settings_of
from bridge.errors import BadSettings
from bridge.settings import Settings
from tests.unit.command.running import CommandLine, Here, shapes
from tests.unit.trial.backends import notes
from tests.unit.trial.fal_api import KEY, RUN, arguments

OTHERS = {"output_format", "sync_mode"}
"""How the result is saved and sent, which a command's output says by itself."""
GIVEN: dict[str, tuple[list[str], Any]] = {
    "num_layers": (["--layers", "3"], 3),
    "prompt": (["--prompt", "note a “red” kite"], "note a “red” kite"),
    "negative_prompt": (["--negative-prompt", "rain"], "rain"),
    "num_inference_steps": (["--steps", "17"], 17),
    "guidance_scale": (["--guidance-scale", "2.5"], 2.5),
    "seed": (["--seed", "2147483647"], 2147483647),
    "acceleration": (["--acceleration", "high"], "high"),
    "enable_safety_checker": (["--no-safety-checker"], False),
}
WORDS = [word for words, _ in GIVEN.values() for word in words]


def reached(unflatten: CommandLine | Here) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the options that the backend had last."""
    return json.loads(notes(unflatten.data, "settings")[-1]), json.loads(notes(unflatten.data, "options")[-1])


def test_every_setting_has_its_option() -> None:
    assert set(OPTIONS) == set(GIVEN) == set(Settings.model_fields) - OTHERS


@pytest.mark.parametrize("backend", ["trial", "graphics", "elsewhere"])
@pytest.mark.parametrize("command", ["split", "batch"])
def test_all_reach_the_backend_unchanged(here: Here, command: str, backend: str) -> None:
    assert here("set", "remote-allowed", "yes").returncode == 0
    shapes(here.folder / "a.png")
    output = "a.ora" if command == "split" else "out"
    told = here(command, "a.png", "-o", output, "--backend", backend, "--option", "shade=9", *WORDS)
    assert told.returncode == 0, told.stderr
    settings, options = reached(here)
    assert {name: settings[name] for name in GIVEN} == {name: value for name, (_, value) in GIVEN.items()}
    assert {name: settings[name] for name in OTHERS} == {"output_format": "png", "sync_mode": False}
    assert options["shade"] == 9 and options["place"] == "here"


def test_what_is_not_given_has_its_default(here: Here) -> None:
    shapes(here.folder / "a.png")
    assert here("split", "a.png", "-o", "a.ora", "--backend", "trial", "--prompt", "note").returncode == 0
    assert reached(here)[0] == Settings(prompt="note").model_dump()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--steps", "0"], "“--steps 0” cannot be used. Use a whole number from 1 to 50."),
        (["--layers", "0"], "“--layers 0” cannot be used. Use a whole number from 1 to 10 or auto."),
        (["--option", "shade=256"], "The option “shade” of “elsewhere” cannot be used"),
        (["--option", "colour=red"], "The backend “elsewhere” has no option “colour”."),
        (["--option", "place=there"], "“place” is decided once for this computer"),
        (["--option", "=5"], "“--option =5” gives no option a value."),
    ],
)
@pytest.mark.parametrize("command", ["split", "batch"])
def test_what_is_wrong_is_said_before_anything_is_opened_or_sent(
    here: Here, command: str, words: list[str], told: str
) -> None:
    assert here("set", "remote-allowed", "yes").returncode == 0
    (here.folder / "a.png").write_bytes(b"no picture")
    before = here.names()
    ended = here(command, "a.png", "-o", "out", "--backend", "elsewhere", *words)
    assert ended.returncode == 1 and told in " ".join(ended.stderr.splitlines())
    assert len(ended.stderr.splitlines()) == 2 and here.names() == before
    assert notes(here.data, "connected") == []


def test_a_setting_that_the_backend_has_no_use_for_is_said(here: Here) -> None:
    shapes(here.folder / "a.png")
    told = here("split", "a.png", "-o", "a.ora", "--layers", "1", "--prompt", "a kite", "--steps", "5")
    assert told.returncode == 0
    assert told.stderr == "Built-in splitter has no use for --prompt and --steps.\n"


@pytest.mark.parametrize("value", ["1.5", "many", "", "-3", "1e3"])
@pytest.mark.parametrize("name", ["num_layers", "num_inference_steps", "seed"])
def test_what_is_no_number_is_refused_by_the_option_s_name(name: str, value: str) -> None:
    with pytest.raises(BadSettings) as raised:
        settings_of({name: value})
    assert (
        raised.value.message == f"“{OPTIONS[name]} {value}” cannot be used." and "a whole number" in raised.value.hint
    )


# fal's API, whose requests bring the settings


def test_serve_fal_splits_with_the_options_that_it_is_given(
    unflatten: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFLATTEN_FAL_API_KEY", KEY)
    process = unflatten.start("serve", "--fal", "--backend", "trial", "--option", "shade=11")
    try:
        asked = {name: value for name, (_, value) in GIVEN.items()} | {"output_format": "webp", "sync_mode": True}
        answer = httpx.post(
            opened(unflatten, process)["url"] + RUN,
            json=arguments(**asked),
            headers={"Authorization": f"Key {KEY}"},
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        settings, options = reached(unflatten)
        assert settings == Settings(**asked).model_dump() and options["shade"] == 11
        other = unflatten("serve", "--fal", "--backend", "trial", "--option", "shade=12")
        assert other.returncode == 1 and "is open already" in other.stderr
        same = unflatten("serve", "--fal", "--option", "shade=11", "--backend", "trial")
        assert same.returncode == 0 and "is open at" in same.stdout
    finally:
        unflatten("stop")
        process.communicate(timeout=60)


@pytest.mark.parametrize("words", [["--option", "shade=256"], ["--option", "shade"]])
def test_serve_fal_refuses_what_its_backend_does_not_take(here: Here, words: list[str]) -> None:
    told = here("serve", "--fal", "--backend", "trial", *words)
    assert told.returncode == 1 and len(told.stderr.splitlines()) == 2


def opened(unflatten: CommandLine, process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the bridge tells of fal's API once it is open."""
    until = time.monotonic() + 60
    while True:
        told = json.loads(unflatten("status", "--json").stdout).get("fal_api", {})
        if told.get("open"):
            return told
        assert process.poll() is None and time.monotonic() < until
