"""One job in this process, without a daemon: what the command line does, and what the worker does for the daemon."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict

from bridge.backends import base
from bridge.decompose import Step, decompose
from bridge.errors import BackendUnavailable
from bridge.picture import Picture
from bridge.settings import MAX_SEED, Settings

_REINSTALL = "Run “python3 install.py” again."


def load(backend_name: str | None = None) -> base.Backend:
    """The named backend (None: the default). Raises BackendUnavailable where there is none of that name."""
    return base.get(backend_name or base.DEFAULT)


def run_local(
    picture: Picture,
    settings: Settings,
    backend_name: str | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    handle: str | None = None,
) -> Iterator[Step]:
    """Split `picture` with the named backend (None: the default) and yield decompose's steps.

    cancelled: asked at every checkpoint; once it answers True, Cancelled is raised.
    handle: what a remote service called this job before a restart.
    Raises BackendUnavailable before any work, and whatever decompose raises.
    """
    backend = load(backend_name)
    able = backend.capabilities()
    if able.unavailable:
        raise BackendUnavailable(able.unavailable, able.remedy)
    seed = settings.seed if settings.seed is not None else secrets.randbelow(MAX_SEED + 1)
    yield from decompose(picture, settings, backend, base.JobContext(seed=seed, cancelled=cancelled, handle=handle))


def offers() -> list[dict[str, object]]:
    """What each registered backend can do, as plain values; one that does not even load is offered as unavailable."""
    offered: list[dict[str, object]] = []
    for name in base.names():
        try:
            able = base.get(name).capabilities()
        except Exception:
            able = base.Capabilities(title=name, unavailable="It could not be loaded.", remedy=_REINSTALL)
        offered.append({"name": name, "default": name == base.DEFAULT, **asdict(able)})
    return offered
