"""What the command line's words ask for: the settings and the backend with its options, checked before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bridge.backends.choice import Choice, choose
from bridge.errors import BadSettings
from bridge.settings import Settings

OPTIONS = {
    "num_layers": "--layers",
    "prompt": "--prompt",
    "negative_prompt": "--negative-prompt",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance-scale",
    "seed": "--seed",
    "acceleration": "--acceleration",
    "enable_safety_checker": "--safety-checker",
}
"""How the command line calls the settings; how the result is saved, the name of its output says."""


@dataclass(frozen=True)
class Wanted:
    """Who splits, and how. options: the backend's own that were named, as plain values."""

    chosen: Choice
    settings: Settings
    options: dict[str, Any]
    note: str = ""
    """What was asked for in vain, as a sentence."""


def wanted(given: Mapping[str, object], backend: str | None, options: Sequence[str]) -> Wanted:
    """given: settings by their names in `Settings`, as text or as they are; None: not given. options: NAME=VALUE each.

    Raises BadSettings, and BackendUnavailable where the backend is not there or cannot run.
    """
    given = {name: value for name, value in given.items() if value is not None}
    settings = settings_of(given)
    chosen = choose(backend, _named(options)).check()
    able = chosen.capabilities()
    vain = [OPTIONS[name] for name in given if name not in able.settings]
    note = f"{able.title} has no use for {' and '.join(vain)}." if vain else ""
    return Wanted(chosen, settings, _plain(chosen), note)


def options_of(backend: str | None, options: Sequence[str]) -> dict[str, Any]:
    """The named options of a backend, as plain values. Raises BadSettings, and BackendUnavailable."""
    return _plain(choose(backend, _named(options)))


def settings_of(given: Mapping[str, object]) -> Settings:
    """The settings of these values. Raises BadSettings, in the command line's own words."""
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_context=False)[0]["loc"][0])
        schema: dict[str, Any] = Settings.model_json_schema()["properties"][name]
        raise BadSettings(f"“{OPTIONS[name]} {given[name]}” cannot be used.", f"Use {_allowed(schema)}.") from None


def _plain(chosen: Choice) -> dict[str, Any]:
    """Those of its options that were named."""
    checked = chosen.options.model_dump(mode="json")
    return {name: checked[name] for name in chosen.own}


def _named(options: Sequence[str]) -> dict[str, str]:
    """The options of NAME=VALUE each, as text. Raises BadSettings."""
    found: dict[str, str] = {}
    for each in options:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise BadSettings(f"“--option {each}” gives no option a value.", "Write --option NAME=VALUE.")
        found[name.replace("-", "_")] = value
    return found


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a field takes, by its JSON schema, in words."""
    if "anyOf" in schema:
        return " or ".join(filter(None, map(_allowed, schema["anyOf"])))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    kind = {"integer": "a whole number", "number": "a number", "boolean": "yes or no", "string": "text"}
    told = kind.get(schema["type"], "")
    return f"{told} from {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else told
