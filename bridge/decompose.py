"""The whole journey on one page: a picture, settings and a backend become an exact stack of named layers."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from bridge.backends.base import Backend, DraftLayer, Handle, JobContext, Progress
from bridge.errors import BadPicture, NothingFound
from bridge.finish.exact import make_exact
from bridge.finish.fit import fit_to_canvas
from bridge.finish.measure import Measured, measure
from bridge.finish.names import name_layers
from bridge.finish.tidy import crop_layers, drop_blank_layers
from bridge.limits import check_picture as check_picture
from bridge.picture import Layer, Picture, Stack
from bridge.settings import Settings


@dataclass(frozen=True)
class Planned:
    """The finished stack's outline (names, kinds, rectangles), sent before the first pixels, so places can wait."""

    stack: Stack


@dataclass(frozen=True)
class Finished:
    """Layer `index` of the planned stack, final."""

    index: int
    layer: Layer


@dataclass(frozen=True)
class Report:
    """How it went: Measured's figures, the seed used, and sentences for the user.

    draft_seconds: in the backend; finish_seconds: until the layers were final; seconds: in all, with the measuring.
    """

    max_error: int
    exact_share: float
    seed: int
    seconds: float
    draft_seconds: float
    finish_seconds: float
    layers: int
    cost: float = 0.0
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


Step = Progress | Handle | Planned | Finished | Report


def decompose(picture: Picture, settings: Settings, backend: Backend, job: JobContext) -> Iterator[Step]:
    """Split `picture` with `backend`, and yield progress, the plan, each finished layer and last the report.

    Raises BadPicture, NothingFound, Cancelled, BackendUnavailable and what the backend raises; nothing is
    yielded as finished before the whole stack is exact. The plan comes as soon as it holds, so that the layers' places
    are made meanwhile; the layers are measured while whoever asked for them takes them.
    """
    check_picture(picture.width, picture.height)
    if not picture.view[..., 3].any():
        raise BadPicture("The picture is fully transparent.", "Paint or open something, or select another document.")
    began = time.monotonic()
    drafts: list[DraftLayer] = []
    for event in backend.draft(picture, settings, job):
        if isinstance(event, DraftLayer):
            drafts.append(event)
        else:
            yield event
        job.checkpoint()
    drafted = time.monotonic()

    yield Progress("Making the layers exact", 0, 1)
    draft = Stack(tuple(event.layer for event in drafts), drafts[0].width, drafts[0].height)
    stack = drop_blank_layers(fit_to_canvas(draft, picture))
    if picture.is_opaque:  # then exactness changes no layer's bounds
        stack = _outlined(stack, settings, whole_first=True)
        yield Planned(stack)
        make_exact(stack, picture)
    else:
        stack = _outlined(make_exact(stack, picture), settings)
        yield Planned(stack)
    job.checkpoint()
    finished = time.monotonic()
    for index, layer in enumerate(stack.layers):
        yield Finished(index, layer)
    measured: Measured = measure(stack, picture)
    yield Report(
        max_error=measured.max_error,
        exact_share=measured.exact_share,
        seed=job.seed,
        seconds=round(time.monotonic() - began, 3),
        draft_seconds=round(drafted - began, 3),
        finish_seconds=round(finished - drafted, 3),
        layers=len(stack.layers),
        notes=job.notes + measured.notes,
    )


def _outlined(stack: Stack, settings: Settings, *, whole_first: bool = False) -> Stack:
    """The stack with its final layers, bounds and names. Raises NothingFound where it would be a mere copy."""
    stack = name_layers(crop_layers(stack, whole_first=whole_first))
    if len(stack.layers) < 2 and settings.num_layers != 1:
        raise NothingFound(
            "No text and no objects could be told apart from the background.",
            "Your picture is unchanged. Pictures with distinct objects or lettering split best.",
        )
    return stack
