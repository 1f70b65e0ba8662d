"""The whole journey on one page: a picture, settings and a backend become an exact stack of named layers."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field

import numpy as np

from bridge.backends.base import Backend, DraftLayer, Handle, JobContext, Progress
from bridge.errors import BadPicture, NothingFound, UselessDraft
from bridge.finish.exact import make_exact
from bridge.finish.fit import Fitted, fit
from bridge.finish.measure import measure
from bridge.finish.names import name_layers
from bridge.finish.sift import Sifted, sift
from bridge.finish.tidy import crop_layers
from bridge.finish.words import Line, label_text
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
    """How it went.

    max_error: a channel's largest difference between picture and flattened layers, in the document's own numbers, of
    which `levels` are full range (255, 65535, or 1); exact_share: identical pixels, 0–1. model_drift: how far the
    backend's own layers were from the picture before they were made exact, mean difference 0–255. draft_seconds: in
    the backend; finish_seconds: until the layers were final; seconds: in all, with the measuring. cost: US dollars.
    notes: sentences for the user.
    """

    max_error: float
    levels: float
    exact_share: float
    model_drift: float
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


def decompose(picture: Picture, settings: Settings, backend: Backend, job: JobContext) -> Generator[Step]:
    """Split `picture` with `backend`, and yield progress, the plan, each finished layer and last the report.

    Raises BadPicture, NothingFound, UselessDraft, Cancelled, BackendUnavailable and what the backend raises; nothing is
    yielded as finished before the whole stack is exact. The plan comes as soon as it holds, so that the layers' places
    are made meanwhile; the layers are measured while whoever asked for them takes them.
    """
    check_picture(picture.width, picture.height)
    if not picture.view[..., 3].any():
        raise BadPicture("The picture is fully transparent.", "Paint or open something, or select another document.")
    began = time.monotonic()
    drafts: list[DraftLayer] = []
    with closing(backend.draft(picture, settings, job)) as draft:  # a remote one has someone to tell when it is cut off
        for event in draft:
            if isinstance(event, DraftLayer):
                drafts.append(event)
            else:
                yield event
            if not isinstance(event, Handle):  # one handed over on the way out is followed by what there is to say
                job.checkpoint()
    drafted = time.monotonic()

    if not drafts:
        raise UselessDraft(
            "No layers came back for your picture.",
            "Your picture is unchanged. Try again, with another number of layers or another seed.",
        )
    yield Progress("Making the layers exact", 0, 1)
    sifted = sift(Stack(tuple(event.layer for event in drafts), drafts[0].width, drafts[0].height), picture)
    fitted = fit(_named(sifted, picture, job), picture, faithful=sifted.faithful)
    job.checkpoint()
    if sifted.faithful and picture.is_opaque:  # then exactness changes no layer's bounds
        planned = _worth_having(crop_layers(fitted.stack, whole_first=True), settings)
        yield Planned(planned)
        stack = make_exact(Fitted(planned, []), picture)
    else:
        stack = _worth_having(crop_layers(make_exact(fitted, picture)), settings)
        yield Planned(stack)
    job.checkpoint()
    finished = time.monotonic()
    for index, layer in enumerate(stack.layers):
        yield Finished(index, layer)
    measured = measure(stack, picture)
    yield Report(
        max_error=measured.max_error,
        levels=measured.levels,
        exact_share=measured.exact_share,
        model_drift=round(sifted.drift, 2),
        seed=job.seed,
        seconds=round(time.monotonic() - began, 3),
        draft_seconds=round(drafted - began, 3),
        finish_seconds=round(finished - drafted, 3),
        layers=len(stack.layers),
        cost=job.cost,
        notes=job.notes + sifted.notes,
    )


def _named(sifted: Sifted, picture: Picture, job: JobContext) -> Stack:
    """The draft with a name for each layer; what a model did not read is read here."""
    stack = sifted.stack
    if not sifted.faithful and any(layer.kind == "object" for layer in stack.layers):
        from bridge.reading import read_lines  # a second to import, and the built-in splitter has read by itself

        size = (picture.width, picture.height)
        lines = read_lines(picture.view[..., :3], job.checkpoint)
        stack = label_text(stack, [Line(line.text, (line.quad / size).astype(np.float32)) for line in lines])
    return name_layers(stack)


def _worth_having(stack: Stack, settings: Settings) -> Stack:
    """The stack. Raises NothingFound where it would be a mere copy of the picture."""
    if len(stack.layers) < 2 and settings.num_layers != 1:
        raise NothingFound(
            "No text and no objects could be told apart from the background.",
            "Your picture is unchanged. Pictures with distinct objects or lettering split best.",
        )
    return stack
