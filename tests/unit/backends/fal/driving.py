"""A draft as a test drives it: what it yielded, and how it ended."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bridge.backends.base import DraftLayer, Event, Handle, JobContext, Paced, Progress
from bridge.backends.fal.backend import Fal
from bridge.errors import UnflattenError
from bridge.picture import Picture
from bridge.settings import Settings


def picture(width: int = 300, height: int = 200, seed: int = 1) -> Picture:
    """Opaque noise, which no file makes small."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255
    return Picture(pixels)


def plain(width: int = 64, height: int = 48) -> Picture:
    """One colour, which fits into an order."""
    return Picture(np.full((height, width, 4), (200, 120, 40, 255), np.uint8))


@dataclass
class Drafted:
    """events: all but the layers. error: what ended it, if anything did."""

    job: JobContext
    events: list[Event] = field(default_factory=list)
    layers: list[DraftLayer] = field(default_factory=list)
    error: UnflattenError | None = None

    @property
    def stages(self) -> list[str]:
        return [event.stage for event in self.events if isinstance(event, Progress)]

    @property
    def paces(self) -> list[str]:
        return [event.pace for event in self.events if isinstance(event, Paced)]

    @property
    def handles(self) -> list[dict[str, Any]]:
        """What the handles say; empty ones as {}."""
        return [json.loads(event.text or "{}") for event in self.events if isinstance(event, Handle)]

    @property
    def failure(self) -> UnflattenError:
        assert self.error is not None, f"it ended well, with {len(self.layers)} layers"
        return self.error


def draft(
    shown: Picture | None = None,
    settings: Settings | None = None,
    job: JobContext | None = None,
    watch: Callable[[Event], None] = lambda event: None,
) -> Drafted:
    """Run a draft to its end. watch: called with each event, before the draft goes on."""
    drafted = Drafted(job or JobContext(seed=77))
    try:
        for event in Fal().draft(shown or picture(), settings or Settings(num_layers=3), drafted.job):
            if isinstance(event, DraftLayer):
                drafted.layers.append(event)
            else:
                drafted.events.append(event)
            watch(event)
    except UnflattenError as error:
        drafted.error = error
    return drafted


def composite(layers: list[DraftLayer]) -> np.ndarray:
    """(h, w, 3) the layers laid over each other; each pixel of theirs is opaque or clear."""
    flat = np.zeros((layers[0].height, layers[0].width, 3), np.uint8)
    for each in layers:
        shows = each.layer.pixels[..., 3] == 255
        flat[shows] = each.layer.pixels[shows][:, :3]
    return flat
