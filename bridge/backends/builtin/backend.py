"""The default backend: splits on this machine's processor, with no account and no key."""

from collections.abc import Generator

import numpy as np

from bridge.backends.base import Capabilities, DraftLayer, Estimate, Event, JobContext, Progress
from bridge.backends.builtin import saliency
from bridge.backends.builtin.splitter import MOST_LAYERS, split
from bridge.backends.builtin.transparency import islands, no_denser, opaque_colours
from bridge.picture import Layer, Picture
from bridge.settings import Settings


class Builtin:
    name = "builtin"

    def capabilities(self) -> Capabilities:
        problem = saliency.weights_problem()
        remedy = "Run “python3 install.py” again." if problem else ""
        return Capabilities("Built-in splitter", layers=(1, MOST_LAYERS), unavailable=problem, remedy=remedy)

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        megapixels = width * height / 1e6
        return Estimate(seconds=1.0 + 1.5 * megapixels if settings.num_layers == 1 else 4.0 + 2.5 * megapixels)

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Generator[Event]:
        """Progress, then the layers back to front, at the picture's own size."""
        at_most = MOST_LAYERS if settings.num_layers == "auto" else settings.num_layers
        opaque = picture.is_opaque
        apart = None if opaque else islands(picture.view, at_most)
        if apart is not None:
            yield Progress("Finding objects", 1, 1)
            for layer in apart:
                yield DraftLayer(layer, picture.width, picture.height)
            return
        rgb = np.ascontiguousarray(picture.view[..., :3]) if opaque else opaque_colours(picture.view)
        seconds = 25 + 5 * picture.width * picture.height / 1e6
        layers = list[Layer]()
        for event in split(rgb, at_most=at_most, seconds=seconds, job=job):
            if isinstance(event, Layer):
                layers.append(event)
            else:
                yield event
        for layer in layers if opaque else no_denser(layers, picture.view[..., 3]):
            yield DraftLayer(layer, picture.width, picture.height)
