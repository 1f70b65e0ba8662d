"""A job, one type for each of its ages: `JobRequest` when it is asked for, `Job` while it lives and in the store, and
`JobEvent`s for what happens to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from bridge import protocol
from bridge.errors import UnflattenError
from bridge.settings import Settings

Model = Literal["RGBA", "GRAYA", "CMYKA", "LABA", "XYZA", "YCbCrA"]
"""Krita's colour models; picture.Model is the same, in a module that loads numpy."""

# Where its picture is


@dataclass(frozen=True)
class RawPicture:
    """Pixels as they came, in the job's folder.

    model, depth, channels: as in the protocol. view: whether an 8-bit sRGB view follows the pixels; profile_bytes: of
    the ICC profile after that.
    """

    width: int
    height: int
    model: Model = "RGBA"
    depth: str = "U8"
    channels: str = "RGBA"
    view: bool = False
    profile_bytes: int = 0

    @property
    def pixel_size(self) -> int:
        """Bytes of one pixel."""
        return protocol.pixel_size(self.model, self.depth)

    @property
    def nbytes(self) -> int:
        """Bytes of all that arrives with the picture: its pixels, its view and its profile."""
        pixels = self.width * self.height
        return pixels * self.pixel_size + (pixels * 4 if self.view else 0) + self.profile_bytes


@dataclass(frozen=True)
class ImageFile:
    """An image file of the user's, at `path`; a worker opens it."""

    path: str


@dataclass(frozen=True)
class Awaited:
    """A picture that is still on its way: whoever submitted the job brings it."""


Source = RawPicture | ImageFile | Awaited

# What is wanted of it


@dataclass(frozen=True)
class RawLayers:
    """Each layer as flat pixels, in the picture's own encoding, in the job's folder."""


@dataclass(frozen=True)
class LayerImages:
    """Each layer as an image file as large as the picture, in the job's folder. check: ask the safety checker."""

    format: Literal["png", "webp"]
    check: bool = False


@dataclass(frozen=True)
class LayeredFile:
    """One layered file at `path`, or a folder of PNG files. sheet: where a contact sheet goes, if anywhere."""

    path: str
    format: Literal["ora", "psd", "png"]
    sheet: str | None = None


Output = RawLayers | LayerImages | LayeredFile


@dataclass(frozen=True)
class JobRequest:
    """A job as it is asked for.

    id: 32 hexadecimal digits. client: who asks; clients take turns. backend: a registered name, never empty; options:
    its options that were named for this job. batch: pictures that someone waits for go first. unattended: it goes on
    with nobody connected, and through a restart. rerun: it may be run again after a crash. expires: seconds since the
    epoch, after which nothing of it may be kept. same_as: equal for jobs that ask for the same of the same picture;
    empty where they need not be told.
    """

    id: str
    client: str
    source: Source
    output: Output
    backend: str
    settings: Settings = field(default_factory=Settings)
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    batch: bool = False
    unattended: bool = False
    rerun: bool = True
    expires: float | None = None
    same_as: str = ""


class State(StrEnum):
    """A job's states; the last four end it."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.INTERRUPTED})


@dataclass(frozen=True)
class Outline:
    """One layer without its pixels; rect: (left, top, width, height) in canvas pixels."""

    name: str
    kind: str
    rect: tuple[int, int, int, int]


@dataclass(frozen=True)
class SavedImage:
    """A layer's image file. unsafe: what the safety checker found, False where it was not asked."""

    nbytes: int
    unsafe: bool = False


@dataclass
class Job:
    """A job in the store, from `accepted` to the end of its retention.

    owner: the process that runs it. created, started, ended: seconds since the epoch. width, height: of the canvas, 0
    until its picture was opened. attempts: how often it was begun. handle: a service's name for it. layers and report:
    once its stack is known; images: where those were wanted. delivered: whether a client has had its result.
    """

    request: JobRequest
    owner: str = ""
    state: State = State.QUEUED
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    width: int = 0
    height: int = 0
    attempts: int = 0
    handle: str | None = None
    layers: tuple[Outline, ...] | None = None
    images: tuple[SavedImage, ...] | None = None
    report: dict[str, Any] | None = None
    error: UnflattenError | None = None
    delivered: bool = False

    @property
    def id(self) -> str:
        return self.request.id

    def layer_nbytes(self, layer: Outline) -> int:
        """Bytes of a layer's flat pixels."""
        source = self.request.source
        pixel_size = source.pixel_size if isinstance(source, RawPicture) else 4
        return layer.rect[2] * layer.rect[3] * pixel_size


# What happens to it


@dataclass(frozen=True)
class Progressed:
    """A step of a stage is done. seconds_left: None where nobody can tell."""

    stage: str
    step: int
    steps: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Previewed:
    """What the layers look like so far: `layers` small pictures, back to front, each of width × height pixels of 8-bit
    straight RGBA, one after the other in the file `path`, which goes when there is a newer one."""

    layers: int
    width: int
    height: int
    path: Path


@dataclass(frozen=True)
class Stacked:
    """The stack's outline, back to front, before its pixels."""

    width: int
    height: int
    layers: tuple[Outline, ...]


@dataclass(frozen=True)
class LayerReady:
    """A layer's pixels lie whole in the file `path`."""

    index: int
    outline: Outline
    path: Path


@dataclass(frozen=True)
class Done:
    """The output that was wanted is there, whole."""

    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job ended without a result: failed, cancelled or interrupted."""

    error: UnflattenError


JobEvent = Progressed | Previewed | Stacked | LayerReady | Done | Failed
Listener = Callable[[str, JobEvent], None]
"""Called with the job's id, in the engine's event loop; must not wait."""
