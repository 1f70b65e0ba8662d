"""The built-in splitter as a model in a worker: a picture in, draft layers out."""

from collections.abc import Generator

import numpy as np

from bridge.backends.base import DraftLayer, JobContext, Progress
from bridge.backends.builtin.backend import MOST_LAYERS
from bridge.backends.builtin.splitter import split
from bridge.backends.builtin.transparency import limit_alpha, opaque_colours, split_components
from bridge.picture import Layer, Picture
from bridge.settings import Settings

TIME_BUDGET = (25.0, 5.0)
"""Seconds after which no new step is begun: to begin with, and for each megapixel."""


class BuiltinModel:
    """Splits by rules and small networks; keeps nothing from one picture to the next."""

    def draft(
        self, picture: Picture, settings: Settings, job: JobContext
    ) -> Generator[Progress | DraftLayer, None, None]:
        """Progress, then the layers back to front, at the picture's own size. Raises Cancelled."""
        at_most = MOST_LAYERS if settings.num_layers == "auto" else settings.num_layers
        opaque = picture.is_opaque
        components = None if opaque else split_components(picture.view, at_most)
        if components is not None:
            yield Progress("Finding objects", 1, 1)
            for layer in components:
                yield DraftLayer(layer, picture.width, picture.height)
            return
        rgb = np.ascontiguousarray(picture.view[..., :3]) if opaque else opaque_colours(picture.view)
        start, each = TIME_BUDGET
        seconds = start + each * picture.width * picture.height / 1e6
        layers = list[Layer]()
        for event in split(rgb, at_most=at_most, seconds=seconds, job=job):
            if isinstance(event, Layer):
                layers.append(event)
            else:
                yield event
        for layer in layers if opaque else limit_alpha(layers, picture.view[..., 3]):
            yield DraftLayer(layer, picture.width, picture.height)
