"""One job in this process, without a daemon: what the command line does, and what the worker does for the daemon."""

import secrets
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict

from bridge import preferences
from bridge.backends import base
from bridge.decompose import Step, decompose
from bridge.errors import BackendUnavailable, UnflattenError
from bridge.picture import Picture
from bridge.settings import MAX_SEED, Settings

_REINSTALL = "Run “python3 install.py” again."


def chosen(backend_name: str | None = None) -> str:
    """The named backend's name (None: the preferred one's). Raises BadSettings where nobody can tell which that is."""
    return backend_name or preferences.read().backend


def load(backend_name: str | None = None) -> base.Backend:
    """The named backend (None: the user's preferred one). Raises BackendUnavailable where there is none of that name,
    and BadSettings where nobody can tell which is preferred."""
    return base.get(chosen(backend_name))


def load_able(backend_name: str | None = None) -> base.Backend:
    """The same, if it can run here. Raises BackendUnavailable with what to do, and BadSettings."""
    backend = load(backend_name)
    able = backend.capabilities()
    if able.unavailable:
        raise BackendUnavailable(able.unavailable, able.remedy)
    return backend


def run_local(
    picture: Picture,
    settings: Settings,
    backend_name: str | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    handle: str | None = None,
    others: tuple[str, ...] = (),
    spare_begun: bool = False,
) -> Generator[Step]:
    """Split `picture` with the named backend (None: the preferred one) and yield decompose's steps.

    cancelled: asked at every checkpoint; once it answers True, Cancelled is raised.
    handle: what a remote service called this job before a restart; others: what it calls other jobs.
    spare_begun: what the service is at work on goes on when the job is cancelled.
    Raises BackendUnavailable before any work, and whatever decompose raises.
    """
    backend = load_able(backend_name)
    job = base.JobContext(seed_of(settings), cancelled=cancelled, handle=handle, others=others, spare_begun=spare_begun)
    with closing(decompose(picture, settings, backend, job)) as steps:
        yield from steps


def seed_of(settings: Settings) -> int:
    """The seed that is asked for, or one drawn."""
    return settings.seed if settings.seed is not None else secrets.randbelow(MAX_SEED + 1)


def offers() -> list[dict[str, object]]:
    """What each registered backend can do, as plain values; one that does not even load is offered as unavailable."""
    offered: list[dict[str, object]] = []
    try:
        preferred = preferences.read().backend
    except UnflattenError:
        preferred = base.DEFAULT
    for name in base.names():
        try:
            able = base.get(name).capabilities()
        except Exception:
            able = base.Capabilities(title=name, unavailable="It could not be loaded.", remedy=_REINSTALL)
        offered.append({"name": name, "default": name == preferred, **asdict(able)})
    return offered
