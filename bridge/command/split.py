"""One picture into its layers, in this process: what `split` does, and what `batch` does for each picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.backends.base import Handle, Progress
from bridge.decompose import Finished, Planned, Report
from bridge.errors import UnflattenError
from bridge.files.load import load_picture
from bridge.files.save import Format, save
from bridge.jobs.local import run_local
from bridge.picture import Layer, Picture, Stack
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


def split(order: Order, on_progress: OnProgress, cancelled: Callable[[], bool]) -> Outcome:
    """Load, split and save one picture. Raises UnflattenError; nothing half-written is left."""
    on_progress(Progress("Opening the picture", 0, 1))
    picture = load_picture(order.source)
    stack, report = _layers_of(picture, order, on_progress, cancelled)
    on_progress(Progress("Saving", 0, 1))
    save(stack, picture, order.target, order.kind)
    if order.sheet:
        from bridge.files.sheet import write_sheet

        write_sheet(stack, picture, order.source.name, order.sheet)
    return Outcome([_described(layer) for layer in stack.layers], report)


def _layers_of(
    picture: Picture, order: Order, on_progress: OnProgress, cancelled: Callable[[], bool]
) -> tuple[Stack, Report]:
    planned: Stack | None = None
    layers: dict[int, Layer] = {}
    report: Report | None = None
    for step in run_local(picture, order.settings, order.backend, cancelled=cancelled):
        match step:
            case Progress():
                on_progress(step)
            case Planned(stack):
                planned = stack
            case Finished(index, layer):
                layers[index] = layer
            case Report():
                report = step
            case Handle():
                pass  # only the daemon's journal outlives a crash; here the job ends with the command
    if planned is None or report is None or len(layers) != len(planned.layers):
        raise UnflattenError("The splitter ended without its layers.", "Please report this picture as a bug.")
    return Stack(tuple(layers[index] for index in sorted(layers)), planned.width, planned.height), report


def _described(layer: Layer) -> dict[str, object]:
    return {"name": layer.name, "kind": layer.kind, "rect": list(layer.rect)}
