"""The bridge's worker with a splitter whose time and layers a test sets; everything else is the real thing.

The file `script.json` in the bridge's folder: {"seconds": how long it takes, "objects": how many pieces it cuts out,
"whole": whether each reaches from edge to edge, "stack": a file of numpy's with layers to hand over instead, back to
front, as a model would: of any size, colours a little off}. What the last job asked for is written to `asked.json`.
"""

import json
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from bridge.backends import registry
from bridge.backends.base import Capabilities, DraftLayer, Estimate, JobContext, Model, Placement, Progress
from bridge.connection_file import data_dir
from bridge.picture import Layer, Picture
from bridge.settings import Settings

SCRIPT = "script.json"
ASKED = "asked.json"


class Options(BaseModel):
    """An option of its own, which changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pace: int = 0


class Scripted:
    """Cuts pieces out of the picture; the background is the picture's mean colour."""

    name = "builtin"
    placement = Placement("cpu")
    Options = Options
    credential = None

    def capabilities(self, options: Options) -> Capabilities:
        return Capabilities(title="Scripted")

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(seconds=_script()["seconds"])

    def open(self, options: Options) -> AbstractContextManager[Model]:
        return nullcontext(ScriptedModel(options))


class ScriptedModel:
    """What draws the draft in a worker."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Generator[Progress | DraftLayer]:
        asked = {"settings": settings.model_dump(), "options": self._options.model_dump()}
        (data_dir() / ASKED).write_text(json.dumps(asked))
        script = _script()
        steps = max(1, round(script["seconds"] / 0.05))
        for step in range(steps):
            yield Progress("Following the script", step, steps)
            time.sleep(script["seconds"] / steps)
            job.checkpoint()
        if script["stack"]:
            with np.load(str(script["stack"])) as layers:
                for pixels in layers.values():
                    yield DraftLayer(Layer("", pixels), pixels.shape[1], pixels.shape[0])
            return
        cut = _stripes if script["whole"] else _blocks
        pieces = list(cut(picture, int(script["objects"])))
        yield DraftLayer(_background(picture, pieces), picture.width, picture.height)
        for number, piece in enumerate(pieces):
            yield DraftLayer(piece.named(f"Piece {number}"), picture.width, picture.height)


def _background(picture: Picture, pieces: list[Layer]) -> Layer:
    """What is left; behind the pieces the picture's mean colour, or nothing where the picture lets light through."""
    pixels = picture.view.copy()
    mean = picture.view.reshape(-1, 4).mean(0).round().astype(np.uint8)
    for piece in pieces:
        left, top, width, height = piece.rect
        area = pixels[top : top + height, left : left + width]
        hidden = piece.pixels[..., 3] > 0
        area[hidden, :3] = mean[:3]
        area[hidden & (area[..., 3] < 255), 3] = 0
    return Layer("Background", pixels, kind="background")


def _blocks(picture: Picture, count: int) -> Generator[Layer]:
    """Blocks along the diagonal."""
    height, width = picture.height // count, picture.width // count
    for number in range(count):
        top, left = number * height, number * width
        yield Layer("", picture.view[top : top + height, left : left + width].copy(), left, top)


def _stripes(picture: Picture, count: int) -> Generator[Layer]:
    """Opaque stripes, so that every layer covers the canvas from edge to edge."""
    for number in range(count):
        pixels = picture.view.copy()
        rows = (np.arange(picture.height) // 16) % (count + 1) == number
        rows[[0, -1]] |= number == count - 1
        pixels[~rows, :, 3] = 0
        yield Layer("", pixels)


def _script() -> dict[str, Any]:
    return {"seconds": 0.0, "objects": 2, "whole": 0, "stack": "", **json.loads((data_dir() / SCRIPT).read_text())}


if __name__ == "__main__":
    from bridge.jobs.worker import main

    registry.register("builtin", "__main__:Scripted")
    main(int(sys.argv[-1]))
