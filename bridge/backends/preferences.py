"""What the user has decided once for this computer, for each backend's own options too: a JSON file in the data folder.

It names no backend: which options there are to decide is what the registered backends' `Options` say.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.atomic_text import write_text
from bridge.backends import registry
from bridge.connection_file import data_dir
from bridge.errors import BadSettings

FILE = "preferences.json"
_NAMES = {"remote-allowed": "remote_allowed", "backend": "backend"}
"""By their names on the command line, those that belong to no backend."""


class Preferences(BaseModel):
    """remote_allowed: whether pictures may leave this computer. backend: the one that splits where nobody names one;
    empty: the registry's default. backends: by a backend's name, those of its options that the user has decided.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    remote_allowed: bool = False
    backend: Annotated[str, Field(max_length=64)] = ""
    backends: dict[str, dict[str, Any]] = {}

    def options_of(self, name: str) -> dict[str, Any]:
        """What is decided of the named backend's options, as plain values."""
        return dict(self.backends.get(name, {}))


def read(folder: Path | None = None) -> Preferences:
    """The preferences in `folder` (None: the data folder); what is not decided has its default. Raises BadSettings."""
    file = (folder or data_dir()) / FILE
    try:
        return _parsed(file.read_bytes())
    except FileNotFoundError:
        return Preferences()
    except OSError as problem:
        raise BadSettings(
            f"Your preferences could not be read: {problem.strerror}.", f"Look at {file}; may you read it?"
        ) from None
    except (ValueError, BadSettings):
        raise BadSettings(
            f"Your preferences in {file} are damaged.", "Mend that file, or delete it and set them again."
        ) from None


def change(name: str, text: str, folder: Path | None = None) -> Preferences:
    """Decide `name`, as the command line calls it, and keep that; an empty text sets it back to its default.

    Raises BadSettings; then nothing is changed.
    """
    before = read(folder)
    options = _option_names()
    if name in _NAMES:
        changed = _with_own(before, name, text)
    elif name in options:
        changed = _with_option(before, name, *options[name], text)
    else:
        raise BadSettings(
            f"There is nothing named “{name}” to set.", f"Choose one of: {', '.join([*_NAMES, *options])}."
        )
    _write(folder or data_dir(), changed)
    return changed


def listed(preferences: Preferences) -> dict[str, object]:
    """All that can be decided, by its name on the command line, with what holds now."""
    told: dict[str, object] = {
        "remote-allowed": preferences.remote_allowed,
        "backend": preferences.backend or registry.default(),
    }
    for name, (backend, option) in _option_names().items():
        kind = _options_of(backend)
        assert kind is not None
        told[name] = getattr(kind.model_validate(_checked(backend, preferences.options_of(backend))), option)
    return told


def _parsed(data: bytes) -> Preferences:
    """Raises ValueError and BadSettings. A newer Unflatten's file, with names that are unknown here, can be read."""
    told: Any = json.loads(data)
    found = Preferences.model_validate(told)
    backends = {name: dict(options) for name, options in found.backends.items()}
    for key in told.keys() - Preferences.model_fields.keys():
        for backend, option in _meant_by_flat(key):
            backends.setdefault(backend, {}).setdefault(option, told[key])
    return found.model_copy(update={"backends": {name: _checked(name, given) for name, given in backends.items()}})


def _meant_by_flat(key: str) -> list[tuple[str, str]]:
    """The backend and the option that a key of a file of before means, when options stood beside the rest: one with the
    backend's name before it, or one that was common to all."""
    found: list[tuple[str, str]] = []
    for backend in registry.names():
        option, kind = key.removeprefix(f"{backend}_"), _options_of(backend)
        if kind is not None and option in kind.model_fields:
            found.append((backend, option))
    return found


def _options_of(backend: str) -> type[BaseModel] | None:
    """The backend's `Options`; None where it is not registered or does not load, so that nothing is known of them."""
    try:
        return registry.get(backend).Options
    except Exception:
        return None


def _option_names() -> dict[str, tuple[str, str]]:
    """By their names on the command line: a backend and its option."""
    kinds = {backend: _options_of(backend) for backend in registry.names()}
    return {
        f"{backend}-{option.replace('_', '-')}": (backend, option)
        for backend, kind in kinds.items()
        if kind is not None
        for option in kind.model_fields
    }


def _checked(backend: str, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that are known, as plain values. Raises ValidationError and BadSettings."""
    kind = _options_of(backend)
    if kind is None:
        return given
    known = {option: value for option, value in given.items() if option in kind.model_fields}
    return kind.model_validate(known).model_dump(mode="json", exclude_unset=True)


def _with_own(before: Preferences, name: str, text: str) -> Preferences:
    """With what belongs to no backend decided anew. Raises BadSettings."""
    if name == "backend" and text and text not in registry.names():
        raise BadSettings(f"There is no backend named “{text}”.", f"Choose one of: {', '.join(registry.names())}.")
    decided = {**before.model_dump(), _NAMES[name]: text}
    if not text:
        del decided[_NAMES[name]]
    try:
        return Preferences.model_validate(decided)
    except ValidationError:
        raise BadSettings(f"“{text}” is neither yes nor no.", "Say yes or no.") from None


def _with_option(before: Preferences, name: str, backend: str, option: str, text: str) -> Preferences:
    """With a backend's option decided anew. Raises BadSettings."""
    given = {**before.options_of(backend), option: text}
    if not text:
        del given[option]
    try:
        checked = _checked(backend, given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        reason = first["msg"][:1].lower() + first["msg"][1:]
        kind = _options_of(backend)
        meaning = kind.model_fields[option].description if kind is not None else None
        raise BadSettings(
            f"“{text}” cannot be used for “{name}”: {reason}.", meaning or "“unflatten set” shows what is set now."
        ) from None
    backends = {**before.backends, backend: checked}
    return before.model_copy(update={"backends": {each: decided for each, decided in backends.items() if decided}})


def _write(folder: Path, preferences: Preferences) -> None:
    """Whole or not at all, and for the user's eyes alone. Raises BadSettings."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(folder / FILE, preferences.model_dump_json(indent=1) + "\n", 0o600)
    except OSError as problem:
        raise BadSettings(f"Your preferences could not be kept: {problem.strerror}.", f"Look at {folder}.") from None
