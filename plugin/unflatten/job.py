"""A job as the plugin sees it: `JobRequest` when it is asked for, and `JobEvent`s for what happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from . import protocol
from .pixels import SRGB8, Space


@dataclass(frozen=True)
class Choices:
    """What the user chose for a job; what is left out is for the bridge to decide.

    settings: by the endpoint's own names (prompt, num_layers, seed and so on). backend: who splits. options: the
    backend's own. batch: pictures that someone waits for go first.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    backend: str = ""
    batch: bool = False

    def fields(self) -> dict[str, Any]:
        """What a result depends on, as fields of the protocol's messages."""
        backend = {"backend": self.backend} if self.backend else {}
        return {"settings": dict(self.settings), "options": dict(self.options), **backend}


@dataclass(frozen=True)
class JobRequest:
    """A job as it is asked for, without its pixels.

    width, height: of the picture, in pixels. strip: rows in each piece of its pixels. view_pieces: how many pieces its
    8-bit sRGB view has; 0 where the pixels are that themselves.
    """

    width: int
    height: int
    strip: int
    space: Space = SRGB8
    view_pieces: int = 0
    choices: Choices = field(default_factory=Choices)

    @property
    def strips(self) -> int:
        """How many pieces its pixels have."""
        return -(-self.height // self.strip)

    def message(self, job: str, profile_bytes: int) -> str:
        """The text frame that asks for it. job: 32 hexadecimal digits. profile_bytes: of the ICC profile."""
        picture = {
            "width": self.width,
            "height": self.height,
            "model": self.space.model,
            "depth": self.space.depth,
            "channels": self.space.order,
            "chunks": self.strips,
            "view_chunks": self.view_pieces,
            "profile_bytes": profile_bytes,
        }
        choices = self.choices
        return protocol.encode("decompose", job=job, picture=picture, batch=choices.batch, **choices.fields())


@dataclass(frozen=True)
class Progressed:
    """What is being done, for the user: `step` of `steps` (0 where nobody can tell). seconds_left: None likewise."""

    stage: str
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class Outline:
    """One layer without its pixels. rect: (left, top, width, height) in canvas pixels."""

    name: str
    rect: tuple[int, int, int, int]


@dataclass(frozen=True)
class Stacked:
    """The stack's outline, back to front, before its pixels. opaque: whether the whole picture is."""

    layers: tuple[Outline, ...]
    opaque: bool


@dataclass(frozen=True)
class LayerRows:
    """Whole rows of layer `index`, in Krita's order of channels, at the start of `buffer`.

    size: their bytes. The buffer is lent: JobConnection.take_back wants it when the rows are written.
    """

    index: int
    left: int
    top: int
    width: int
    height: int
    size: int
    buffer: bytearray


@dataclass(frozen=True)
class Whole:
    """All rows of all layers have arrived. The bridge still measures them."""


@dataclass(frozen=True)
class Done:
    """The job is done. report: the bridge's figures."""

    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job ended without a result. The fields are those of UnflattenError.

    Text only: an exception's traceback would carry what its thread held into Krita's.
    """

    message: str
    hint: str
    code: str = ""
    kind: str = ""


JobEvent = Union[Progressed, Stacked, LayerRows, Whole, Done, Failed]
