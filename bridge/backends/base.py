"""What a backend is, what it hands back, and the registry: a new backend is one file and one line here."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal, Protocol, runtime_checkable

from bridge.errors import BackendUnavailable, Cancelled
from bridge.picture import Layer, Picture
from bridge.preferences import DEFAULT_BACKEND
from bridge.settings import Settings


@dataclass(frozen=True)
class Progress:
    """A step of a stage is done: `step` of `steps`. `stage` is a short phrase for the user ("Reading text")."""

    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class Paced(Progress):
    """Progress that also tells how busy a remote service is, so that a batch can send as much as is taken.

    started: it took the picture on at once; queued: it lets it wait; refused: it takes none for now.
    """

    pace: Literal["started", "queued", "refused"] = "started"


@dataclass(frozen=True)
class Handle:
    """What a remote service calls the job: written down, to survive a crash, before anyone waits on it.

    Empty where the service holds nothing of the job any more: it may be sent anew.
    """

    text: str


@dataclass(frozen=True)
class DraftLayer:
    """A layer as the backend sees it, yielded back to front; `width` and `height` are its canvas's."""

    layer: Layer
    width: int
    height: int


Event = Progress | Handle | DraftLayer


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do, and why it cannot run here.

    unavailable: a sentence, empty where it can run. remedy: what to do then. layers: the fewest and most it can give.
    """

    title: str
    layers: tuple[int, int] = (1, 10)
    max_pixels: int | None = None
    prompt: bool = False
    seed: bool = True
    cancel: bool = True
    remote: bool = False
    cost: str = "free"
    unavailable: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Estimate:
    """Before the job: seconds on this machine, money in US dollars."""

    seconds: float
    dollars: float = 0.0


@dataclass
class JobContext:
    """What a running backend may ask: has the user cancelled, and which seed to use.

    handle: the last one that this job was given before a crash or a restart. others: the handles of other jobs.
    spare_begun: what the service is at work on goes on when the job is cancelled; it will be taken up again.
    """

    seed: int
    cancelled: Callable[[], bool] = field(default=lambda: False)
    handle: str | None = None
    others: tuple[str, ...] = ()
    spare_begun: bool = False
    notes: list[str] = field(default_factory=list)
    """Sentences for the report ("The time budget ran out: 2 objects were left in the background.")."""
    cost: float = 0.0
    """US dollars that the job has cost, for the report."""

    def checkpoint(self) -> None:
        """Raise Cancelled when the user has cancelled. Called at least once a second of work."""
        if self.cancelled():
            raise Cancelled()


class Backend(Protocol):
    name: str

    def capabilities(self) -> Capabilities: ...

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate: ...

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Generator[Event]: ...


@runtime_checkable
class Remote(Protocol):
    """What a backend that sends pictures away can do besides, so that many wait there and few in this memory."""

    def pack(self, picture: Picture) -> bytes:
        """What is sent of the picture."""
        ...

    def send(self, packed: bytes, settings: Settings, job: JobContext) -> Generator[Progress | Handle]:
        """Send it and wait until the service has split it; its last handle lets `draft` fetch the layers."""
        ...


DEFAULT = DEFAULT_BACKEND

_REGISTRY: dict[str, str] = {
    "builtin": "bridge.backends.builtin.backend:Builtin",
    "fal": "bridge.backends.fal.backend:Fal",
}


def names() -> list[str]:
    """The registered backends' names, the default first."""
    return list(_REGISTRY)


def register(name: str, path: str) -> None:
    """Add a backend: `path` is "package.module:Class", imported when it is asked for."""
    _REGISTRY[name] = path


def get(name: str) -> Backend:
    """The backend of that name, imported only now: an idle bridge loads none. Raises BackendUnavailable."""
    if name not in _REGISTRY:
        raise BackendUnavailable(f"There is no backend named “{name}”.", f"Choose one of: {', '.join(_REGISTRY)}.")
    module, attribute = _REGISTRY[name].split(":")
    return getattr(import_module(module), attribute)()
