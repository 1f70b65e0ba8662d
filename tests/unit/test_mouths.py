"""Every setting from every mouth: what is asked for reaches a backend unchanged, whoever asks and wherever it runs.

The backends are added from outside, by their registration alone (tests/unit/trial/backends.py). kritarunner's batch is
asked in tests/krita/test_batch.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.command.running import CommandLine, shapes
from tests.unit.trial.backends import notes
from tests.unit.trial.client import noise
from tests.unit.trial.fal_api import open_api
from tests.unit.trial.running import Starter

SETTINGS: dict[str, Any] = {
    "prompt": "note a red kite, “sky”",
    "negative_prompt": "blur",
    "num_layers": 3,
    "num_inference_steps": 41,
    "guidance_scale": 7.5,
    "seed": 4242,
    "acceleration": "high",
    "enable_safety_checker": False,
    "output_format": "webp",
    "sync_mode": True,
}
OF_THE_API = {"output_format": "png", "sync_mode": False}
"""How fal's API gives its layers back. On the command line the output names its format: these stay as they come."""
OPTIONS = {"shade": 3}
BACKENDS = ("trial", "graphics", "elsewhere")

Noted = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def noted(data: Path) -> Noted:
    """The settings and the options that reached a backend, for each job."""
    settings, options = ([json.loads(text) for text in notes(data, what)] for what in ("settings", "options"))
    return settings, [{name: each[name] for name in OPTIONS} for each in options]


def allowed(data: Path) -> Path:
    data.mkdir(parents=True, exist_ok=True)
    (data / "preferences.json").write_text('{"remote_allowed": true}')
    return data


def by_the_wire(backend: str, folder: Path, start: Starter) -> Noted:
    bridge = start(allowed(folder / "data"))
    with bridge.client() as client:
        result = client.split(noise(64, 64), backend=backend, settings=SETTINGS, options=OPTIONS)
    assert result.kinds()[-1] == "done", result.messages
    return noted(bridge.data)


def by_fals_api(backend: str, folder: Path, start: Starter) -> Noted:
    api = open_api(start, allowed(folder / "data"), fal={"backend": backend, "options": OPTIONS})
    answer = api.run(**SETTINGS)
    assert answer.status_code == 200, answer.text
    images = answer.json()["images"]
    assert len(images) == 3 and all(each["url"].startswith("data:image/webp") for each in images)
    return noted(api.bridge.data)


WORDS = [
    *("--prompt", SETTINGS["prompt"], "--negative-prompt", SETTINGS["negative_prompt"], "--layers", "3"),
    *("--steps", "41", "--guidance-scale", "7.5", "--seed", "4242", "--acceleration", "high", "--no-safety-checker"),
    *("--option", "shade=3"),
]


def by_the_command_line(command: str) -> Callable[[str, Path, Starter], Noted]:
    def run(backend: str, folder: Path, start: Starter) -> Noted:
        unflatten = CommandLine(folder, trial=True)
        allowed(unflatten.data)
        out = {"split": "layers.ora", "batch": "results"}[command]
        ran = unflatten(command, shapes(folder / "a.png"), "-o", out, "--backend", backend, *WORDS)
        assert ran.returncode == 0, ran.stderr
        settings, options = noted(unflatten.data)
        for each in settings:
            assert {name: each.pop(name) for name in OF_THE_API} == OF_THE_API
        return settings, options

    return run


MOUTHS = {
    "the wire": by_the_wire,
    "fal's API": by_fals_api,
    "split": by_the_command_line("split"),
    "batch": by_the_command_line("batch"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mouth", MOUTHS)
def test_every_setting_reaches_the_backend_unchanged(mouth: str, backend: str, tmp_path: Path, start: Starter) -> None:
    settings, options = MOUTHS[mouth](backend, tmp_path, start)
    wanted = dict(SETTINGS)
    if mouth in ("split", "batch"):
        wanted = {name: value for name, value in SETTINGS.items() if name not in OF_THE_API}
    assert settings == [wanted] and options == [OPTIONS]
