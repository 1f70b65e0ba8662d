"""One picture into its layers, in this process: what `split` does, and what `batch` does for each picture."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bridge.backends.base import Handle, Progress
from bridge.command.submitted import Submission
from bridge.decompose import Finished, Planned, Report
from bridge.errors import UnflattenError
from bridge.files.load import load_picture
from bridge.files.save import Format, save
from bridge.jobs.local import chosen, load_able, run_local
from bridge.manifest import digest
from bridge.picture import Layer, Picture, Stack
from bridge.preferences import DEFAULT_BACKEND
from bridge.settings import Settings

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Order:
    """One picture to split. target: where its layers go, as `kind`; sheet: where a contact sheet goes, if anywhere."""

    source: Path
    target: Path
    kind: Format
    settings: Settings
    backend: str | None = None
    sheet: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    layers: list[dict[str, object]]
    report: Report


def submission_of(order: Order) -> Submission | None:
    """Where it is written down that the picture was sent away; None where it is not. Raises BackendUnavailable."""
    name = chosen(order.backend)
    if name == DEFAULT_BACKEND or not load_able(name).capabilities().remote:
        return None
    return Submission(digest(order.source), f"{name} {order.settings.model_dump_json()}", order.target)


def split(
    order: Order, on_progress: OnProgress, cancelled: Callable[[], bool], *, submission: Submission | None = None
) -> Outcome:
    """Load, split and save one picture. Raises UnflattenError; nothing half-written is left.

    submission: where it is written down that the picture was sent away; what is there is gone on with.
    """
    on_progress(Progress("Opening the picture", 0, 1))
    picture = load_picture(order.source)
    stack, report = _layers_of(picture, order, on_progress, cancelled, submission)
    on_progress(Progress("Saving", 0, 1))
    save(stack, picture, order.target, order.kind)
    if order.sheet:
        from bridge.files.sheet import write_sheet

        write_sheet(stack, picture, order.source.name, order.sheet)
    if submission is not None:
        submission.forget()
    return Outcome([_described(layer) for layer in stack.layers], report)


def _layers_of(
    picture: Picture,
    order: Order,
    on_progress: OnProgress,
    cancelled: Callable[[], bool],
    submission: Submission | None,
) -> tuple[Stack, Report]:
    planned: Stack | None = None
    layers: dict[int, Layer] = {}
    report: Report | None = None
    handle, others = (submission.handle, submission.others) if submission is not None else (None, ())
    steps = run_local(picture, order.settings, order.backend, cancelled=cancelled, handle=handle, others=others)
    with closing(steps):
        for step in steps:
            match step:
                case Progress():
                    on_progress(step)
                case Planned(stack):
                    planned = stack
                case Finished(index, layer):
                    layers[index] = layer
                case Report():
                    report = step
                case Handle(text):
                    if submission is not None:
                        submission.keep(text)
    if planned is None or report is None or len(layers) != len(planned.layers):
        raise UnflattenError("The splitter ended without its layers.", "Please report this picture as a bug.")
    return Stack(tuple(layers[index] for index in sorted(layers)), planned.width, planned.height), report


def _described(layer: Layer) -> dict[str, object]:
    return {"name": layer.name, "kind": layer.kind, "rect": list(layer.rect)}
