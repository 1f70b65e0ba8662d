"""The whole journey on one page: a picture, settings and a backend become an exact stack of named layers."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field

import numpy as np

from bridge.backends.base import DraftLayer, JobContext, Model, Preview, Progress
from bridge.errors import BadPicture, NothingFound, UselessDraft
from bridge.finish.exact import make_exact
from bridge.finish.fit import Fitted, fit
from bridge.finish.measure import measure
from bridge.finish.names import name_layers
from bridge.finish.sift import Sifted, sift
from bridge.finish.tidy import crop_layers
from bridge.finish.words import Line, label_text
from bridge.limits import check_picture
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
    notes: list[str] = field(default_factory=list[str])

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


Step = Progress | Preview | Planned | Finished | Report


@dataclass(frozen=True)
class Drafted:
    """A backend's layers, back to front, and the seconds that it took over them."""

    layers: list[DraftLayer]
    seconds: float


def decompose(picture: Picture, settings: Settings, model: Model, job: JobContext) -> Generator[Step]:
    """The whole journey: progress, the plan, each finished layer and last the report. Raises what its halves raise."""
    drafted = yield from draft(picture, settings, model, job)
    yield from finish(picture, settings, drafted.layers, job, seconds=drafted.seconds)


def draft(
    picture: Picture, settings: Settings, model: Model, job: JobContext
) -> Generator[Progress | Preview, None, Drafted]:
    """The first half: let `model` split the picture. Yields progress and previews, returns the draft.

    Raises BadPicture, Cancelled, and what the model raises.
    """
    check_splittable(picture)
    began = time.monotonic()
    layers: list[DraftLayer] = []
    with closing(model.draft(picture, settings, job)) as steps:
        for step in steps:
            if isinstance(step, DraftLayer):
                layers.append(step)
            else:
                yield step
            job.checkpoint()
    return Drafted(layers, time.monotonic() - began)


def finish(
    picture: Picture, settings: Settings, drafted: list[DraftLayer], job: JobContext, *, seconds: float
) -> Generator[Step]:
    """The second half: make a draft exact and pleasant. Yields the plan, each finished layer, and last the report.

    seconds: that the draft took, for the report. Raises NothingFound, UselessDraft and Cancelled; nothing is yielded as
    finished before the whole stack is exact. The plan comes as soon as it holds, so that the layers' places are made
    meanwhile; the layers are measured while whoever asked for them takes them.
    """
    check_splittable(picture)
    if not drafted:
        raise UselessDraft(
            "No layers came back for your picture.",
            "Your picture is unchanged. Try again, with another number of layers or another seed.",
        )
    began = time.monotonic()
    yield Progress("Making the layers exact", 0, 1)
    sifted = sift(Stack(tuple(each.layer for each in drafted), drafted[0].width, drafted[0].height), picture)
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
        seconds=round(seconds + time.monotonic() - began, 3),
        draft_seconds=round(seconds, 3),
        finish_seconds=round(finished - began, 3),
        layers=len(stack.layers),
        cost=job.cost,
        notes=[*picture.notes, *job.notes, *sifted.notes],
    )


def check_splittable(picture: Picture) -> None:
    """Raise BadPicture where nothing of it can be split."""
    check_picture(picture.width, picture.height)
    if not picture.view[..., 3].any():
        raise BadPicture("The picture is fully transparent.", "Paint or open something, or select another document.")


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
