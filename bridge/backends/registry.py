"""The backends that there are: a new one is one folder and one line here."""

from importlib import import_module

from bridge.backends.base import AnyBackend
from bridge.errors import BackendUnavailable

_BACKENDS: dict[str, str] = {
    "builtin": "bridge.backends.builtin.backend:Builtin",
    "fal": "bridge.backends.fal.backend:Fal",
    "diffusers": "bridge.backends.diffusers.backend:Diffusers",
}


def names() -> list[str]:
    """The registered backends' names, the default first."""
    return list(_BACKENDS)


def default() -> str:
    """The backend that splits where nobody names one: it needs no account, no key and no network."""
    return next(iter(_BACKENDS))


def register(name: str, path: str) -> None:
    """Add a backend: `path` is "package.module:Class", imported when it is asked for."""
    _BACKENDS[name] = path


def get(name: str) -> AnyBackend:
    """The backend of that name, imported only now. Raises BackendUnavailable where there is none."""
    if name not in _BACKENDS:
        raise BackendUnavailable(f"There is no backend named “{name}”.", f"Choose one of: {', '.join(_BACKENDS)}.")
    module, attribute = _BACKENDS[name].split(":")
    return getattr(import_module(module), attribute)()
