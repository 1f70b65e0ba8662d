"""The bridge's worker with a splitter whose time and layers a test sets; everything else is the real thing.

The file `script.json` in the bridge's folder: {"seconds": how long it takes, "objects": how many pieces it cuts out,
"whole": whether each reaches from edge to edge}.
"""

import json
import sys
import time
from collections.abc import Iterator

import numpy as np

from bridge.backends import base
from bridge.backends.base import Capabilities, DraftLayer, Estimate, Event, JobContext, Progress
from bridge.picture import Layer, Picture
from bridge.protocol import data_dir
from bridge.settings import Settings

SCRIPT = "script.json"


class Scripted:
    """Cuts pieces out of the picture; the background is the picture's mean colour."""

    name = "builtin"

    def capabilities(self) -> Capabilities:
        return Capabilities(title="Scripted")

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(seconds=_script()["seconds"])

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Iterator[Event]:
        script = _script()
        steps = max(1, round(script["seconds"] / 0.05))
        for step in range(steps):
            yield Progress("Following the script", step, steps)
            time.sleep(script["seconds"] / steps)
            job.checkpoint()
        background = picture.view.copy()
        background[...] = picture.view.reshape(-1, 4).mean(0).round()
        background[..., 3] = 255
        yield DraftLayer(Layer("Background", background, kind="background"), picture.width, picture.height)
        pieces = _stripes if script["whole"] else _blocks
        for number, piece in enumerate(pieces(picture, int(script["objects"]))):
            yield DraftLayer(piece.named(f"Piece {number}"), picture.width, picture.height)


def _blocks(picture: Picture, count: int) -> Iterator[Layer]:
    """Opaque blocks along the diagonal."""
    height, width = picture.height // count, picture.width // count
    for number in range(count):
        top, left = number * height, number * width
        block = picture.view[top : top + height, left : left + width].copy()
        block[..., 3] = 255
        yield Layer("", block, left, top)


def _stripes(picture: Picture, count: int) -> Iterator[Layer]:
    """Opaque stripes, so that every layer covers the canvas from edge to edge."""
    for number in range(count):
        pixels = picture.view.copy()
        rows = (np.arange(picture.height) // 16) % (count + 1) == number
        rows[[0, -1]] |= number == count - 1
        pixels[..., 3] = np.where(rows, 255, 0)[:, None]
        yield Layer("", pixels)


def _script() -> dict[str, float]:
    return {"seconds": 0.0, "objects": 2, "whole": 0, **json.loads((data_dir() / SCRIPT).read_text())}


if __name__ == "__main__":
    from bridge.jobs.worker import main

    base.register("builtin", "__main__:Scripted")
    main(int(sys.argv[-1]))
