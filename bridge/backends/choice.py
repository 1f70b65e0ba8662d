"""Which backend splits, with which options: what a job asks for, over what the user has decided for this computer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from bridge.backends import preferences, registry
from bridge.backends.base import AnyBackend, Capabilities, Placement, RemoteBackend
from bridge.errors import BackendUnavailable, BadSettings, UnflattenError


@dataclass(frozen=True)
class Choice:
    """A backend and its checked options. own: those options that a job named itself, as plain values."""

    backend: AnyBackend
    options: BaseModel
    own: dict[str, Any]

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def remote(self) -> RemoteBackend | None:
        """The backend where a service splits; None where this computer does."""
        return self.backend if isinstance(self.backend, RemoteBackend) else None

    @property
    def placement(self) -> Placement:
        """Where its jobs run, as the user has decided: options that are called as a placement's fields stand for
        them."""
        fields = {"keep_alive", "leaves_with_client"} & type(self.options).model_fields.keys()
        return replace(self.backend.placement, **{name: getattr(self.options, name) for name in fields})

    def capabilities(self) -> Capabilities:
        """What it can do, the user's leave to send pictures away included."""
        able = self.backend.capabilities(self.options)
        if self.backend.placement.leaves_computer and not preferences.read().remote_allowed:
            return replace(
                able,
                unavailable=f"Pictures may not be sent to {able.short or able.title}: you have not allowed it yet.",
                remedy="Run “unflatten set remote-allowed yes” to let them be sent to the service that you choose.",
            )
        return able

    def check(self) -> "Choice":
        """Itself. Raises BackendUnavailable, with what to do, where it cannot run here."""
        able = self.capabilities()
        if able.unavailable:
            raise BackendUnavailable(able.unavailable, able.remedy)
        return self


def choose(name: str | None = None, own: Mapping[str, Any] | None = None) -> Choice:
    """The named backend, or the preferred one, with options that a job named: `own`.

    Raises BackendUnavailable where there is none of that name, and BadSettings for options that it does not have.
    """
    preferred = preferences.read()
    backend = registry.get(name or preferred.backend or registry.default())
    own = dict(own or {})
    return Choice(backend, _checked(backend, preferred.options_of(backend.name), own), own)


def offers() -> list[dict[str, Any]]:
    """What each registered backend can do, as plain values; one that does not even load is offered as unavailable."""
    try:
        preferred = preferences.read().backend or registry.default()
    except UnflattenError:
        preferred = registry.default()
    return [_offer(name, default=name == preferred) for name in registry.names()]


def _offer(name: str, *, default: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    leaves_computer = False
    try:
        chosen = choose(name)
        able = chosen.capabilities()
        schema = chosen.backend.Options.model_json_schema()
        leaves_computer = chosen.backend.placement.leaves_computer
    except UnflattenError as problem:
        able = Capabilities(title=name, unavailable=problem.message, remedy=problem.hint)
    except Exception:
        able = Capabilities(title=name, unavailable="It could not be loaded.", remedy="Run “python3 install.py” again.")
    told = {**asdict(able), "settings": sorted(able.settings), "layers": list(able.layers)}
    return {"name": name, "default": default, "leaves_computer": leaves_computer, "options": schema, **told}


def _checked(backend: AnyBackend, decided: Mapping[str, Any], own: Mapping[str, Any]) -> BaseModel:
    """The backend's options. Raises BadSettings, without what was given."""
    for name in own:
        known = backend.Options.model_fields.get(name)
        if known is None:
            options = [each for each in backend.Options.model_fields if not is_computer_wide(backend, each)]
            raise BadSettings(
                f"The backend “{backend.name}” has no option “{name}”.",
                f"It has: {', '.join(options)}." if options else "It has no options of its own.",
            )
        if is_computer_wide(backend, name):
            raise BadSettings(
                f"“{name}” is decided once for this computer, not for a single picture.",
                f"Run “unflatten set {backend.name}-{name.replace('_', '-')} …”.",
            )
    try:
        return backend.Options.model_validate({**decided, **own})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "options"
        reason = first["msg"][:1].lower() + first["msg"][1:]
        field = backend.Options.model_fields.get(name)
        hint = (field and field.description) or f"Without it, {field.default if field else 'its default'} is used."
        raise BadSettings(f"The option “{name}” of “{backend.name}” cannot be used: {reason}.", hint) from None


def is_computer_wide(backend: AnyBackend, option: str) -> bool:
    """Whether an option is decided for this computer alone."""
    extra = backend.Options.model_fields[option].json_schema_extra
    return isinstance(extra, dict) and bool(cast(dict[str, Any], extra).get("computer_wide"))
