"""What a backend is: where its jobs run, what it can do, and the two kinds of models that it opens."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from bridge.backends.placement import CPU, AdaptiveLimit, FixedLimit, Placement
from bridge.errors import Cancelled, UnflattenError
from bridge.settings import Settings

if TYPE_CHECKING:  # numpy is for workers: the engine's process, which idles with Krita, does without it
    import numpy as np
    from numpy.typing import NDArray

    from bridge.picture import Layer, Picture

__all__ = [
    "CPU",
    "AdaptiveLimit",
    "AnyBackend",
    "Backend",
    "Capabilities",
    "Credential",
    "DraftLayer",
    "Estimate",
    "Fate",
    "Fetched",
    "FixedLimit",
    "JobContext",
    "Model",
    "NoOptions",
    "NothingHeld",
    "Pace",
    "Paced",
    "Placement",
    "Preview",
    "Progress",
    "RemoteBackend",
    "RemoteError",
    "RemoteJob",
    "RemoteModel",
    "computer_wide",
]


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do, and why it cannot run here.

    title: for people; short: the same in a word or two, for sentences (“fal was asked to stop.”). layers: the fewest
    and most it can give. settings: the names of those in `Settings` that it heeds. cost: in words. unavailable: a
    sentence, empty where it can run; remedy: what to do then.
    """

    title: str
    short: str = ""
    layers: tuple[int, int] = (1, 10)
    max_pixels: int | None = None
    settings: frozenset[str] = frozenset({"num_layers", "seed"})
    cost: str = "free"
    unavailable: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Estimate:
    """Before the job: seconds on this machine, money in US dollars."""

    seconds: float
    dollars: float = 0.0


@dataclass(frozen=True)
class Credential:
    """A key that a backend's service wants: `service` names it in the keyring, `variable` in the environment.

    where: how to get one, as a sentence.
    """

    service: str
    variable: str
    where: str


class NoOptions(BaseModel):
    """The options of a backend that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def computer_wide(default: Any, **constraints: Any) -> Any:
    """A field of a backend's `Options` that is set once for this computer and never for a single job."""
    return Field(default, json_schema_extra={"computer_wide": True}, **constraints)


@dataclass(frozen=True)
class Progress:
    """A step of a stage is done: `step` of `steps`. `stage` is a short phrase for the user ("Reading text").

    seconds_left: until the job's end, where the backend itself can tell.
    """

    stage: str
    step: int
    steps: int
    seconds_left: float | None = None


Pace = Literal["started", "queued", "refused"]


@dataclass(frozen=True)
class Paced(Progress):
    """Progress that also tells how busy a service is, which its lane's `AdaptiveLimit` learns from.

    started: it took the picture on at once; queued: it lets it wait; refused: it takes none for now.
    """

    pace: Pace = "started"


@dataclass(frozen=True)
class Preview:
    """What the layers look like so far: small pictures of one size, back to front, (h, w, 4) uint8 straight sRGB."""

    images: "tuple[NDArray[np.uint8], ...]"


@dataclass(frozen=True)
class DraftLayer:
    """A layer as the backend sees it, yielded back to front; `width` and `height` are its canvas's."""

    layer: "Layer"
    width: int
    height: int


@dataclass
class JobContext:
    """What a model in a worker may ask, and what it tells for the report.

    seed: 0–2³¹−1, drawn already where the user named none. cancelled: whether the user has cancelled. notes: sentences
    for the report ("The time budget ran out: 2 objects were left in the background."). cost: US dollars.
    """

    seed: int
    cancelled: Callable[[], bool] = field(default=lambda: False)
    notes: list[str] = field(default_factory=list[str])
    cost: float = 0.0

    def checkpoint(self) -> None:
        """Raise Cancelled when the user has cancelled. Called at least once a second of work."""
        if self.cancelled():
            raise Cancelled()


class Model(Protocol):
    """A model in a worker process."""

    def draft(
        self, picture: "Picture", settings: Settings, job: JobContext
    ) -> Generator[Progress | Preview | DraftLayer, None, None]:
        """Progress and previews, then the layers back to front. Raises UnflattenError and what `checkpoint` raises.

        A model that also has a method `memory_wanted() -> bool` is asked between jobs whether another program needs the
        memory that it holds; it is given up then.
        """
        ...


class RemoteError(UnflattenError):
    """Something went wrong at a service, or on the way there.

    holds: the service may still hold the job's result, which a later try can fetch; else that try has to send it anew.
    """

    kind = "service"

    def __init__(self, message: str, hint: str, *, code: str, retryable: bool = False, holds: bool = False) -> None:
        super().__init__(message, hint, code=code, retryable=retryable or holds)
        self.holds = holds


class NothingHeld(RemoteError):
    """The service has nothing of a job that an earlier run called off in time: the job may be sent anew."""

    def __init__(self) -> None:
        super().__init__("The service no longer has this picture.", "Start again.", code="gone", retryable=True)


class Fate(StrEnum):
    """What becomes of a job at its service when nobody waits for it any more."""

    NOT_SENT = "not sent"
    REMOVED = "removed"
    """It had not begun, and will not."""
    ASKED = "asked"
    """The service was asked to stop; it may have begun."""
    BEGUN = "begun"
    """It is at work, and may go on to the end."""
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass
class RemoteJob:
    """What a remote model may ask of its job, in the engine's event loop.

    seed: as in JobContext. tell: passes progress on. keep: writes the service's name for the job down; it is on the
    disk when this returns; an empty one says that the service holds nothing. others: the handles of other jobs.
    spare_begun: `cancel` leaves what the service is at work on to it; it will be taken up again. begun: whether the
    service was seen at work. patience: seconds that cancelling may take.
    """

    seed: int
    tell: Callable[[Progress], None]
    keep: Callable[[str], Awaitable[None]]
    others: tuple[str, ...] = ()
    spare_begun: bool = False
    begun: bool = False
    patience: float = 3.0


@dataclass(frozen=True)
class Fetched:
    """A remote model's result. images: image files, back to front. seed: that it was made with. cost: US dollars.

    flagged: the service's safety checker took note of it.
    """

    images: list[bytes]
    seed: int
    cost: float = 0.0
    flagged: bool = False
    notes: list[str] = field(default_factory=list[str])


class RemoteModel(Protocol):
    """A service, spoken with in the engine's event loop: bytes only, pictures are decoded in a worker.

    One instance serves many jobs at a time. Each method may be cancelled at any moment.
    """

    async def submit(self, packed: bytes, settings: Settings, job: RemoteJob) -> str:
        """Send the picture; the service's name for the job, its handle.

        `job.keep` is awaited with what is needed to find the job again before the first byte leaves, and with the
        handle as soon as it is known. Raises RemoteError where the service certainly did not take it.
        """
        ...

    def follow(self, handle: str, settings: Settings, job: RemoteJob) -> AsyncIterator[Progress]:
        """Progress until the service is done. A handle of before a crash is taken up; a better one goes to `job.keep`.

        Raises RemoteError and NothingHeld.
        """
        ...

    async def fetch(self, handle: str, settings: Settings, job: RemoteJob) -> Fetched:
        """The result, each image whole. Raises RemoteError."""
        ...

    async def cancel(self, handle: str, job: RemoteJob) -> Fate:
        """Ask the service to drop the job, within `job.patience` seconds; what becomes of it. Never raises."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class Backend(Protocol):
    """Who splits pictures. Its module is cheap to import: libraries and weights are loaded by `open`."""

    name: str
    placement: Placement
    Options: ClassVar[type[BaseModel]]
    """Its own options; their JSON schema draws the panel. Fields made by `computer_wide` are no job's."""
    credential: Credential | None

    def capabilities(self, options: Any) -> Capabilities:
        """What it can do here. Cheap: loads no weights, opens no keyring and asks no network."""
        ...

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate: ...

    def open(self, options: Any) -> AbstractContextManager[Model]:
        """Its model, loaded, in a worker. Raises BackendUnavailable with what to do."""
        ...


@runtime_checkable
class RemoteBackend(Protocol):
    """A backend whose pictures are split by a service."""

    name: str
    placement: Placement
    Options: ClassVar[type[BaseModel]]
    credential: Credential | None

    def capabilities(self, options: Any) -> Capabilities: ...

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate: ...

    def wall_clock(self, options: Any) -> float:
        """Seconds that a job may take at the service."""
        ...

    def connect(self, options: Any) -> RemoteModel:
        """Its model, in the engine's process; called in a thread, since it may ask a keyring. Raises BackendUnavailable
        with what to do."""
        ...

    def pack(self, picture: "Picture", settings: Settings) -> bytes:
        """What is sent of the picture. In a worker."""
        ...

    def unpack(self, fetched: Fetched, settings: Settings, job: JobContext) -> list[DraftLayer]:
        """The draft that was fetched. In a worker. Raises RemoteError."""
        ...


AnyBackend = Backend | RemoteBackend
