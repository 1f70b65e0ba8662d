"""The default backend: splits on this computer's processor, with no account and no key."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from bridge.backends.base import CPU, Capabilities, Estimate, FixedLimit, Model, NoOptions, Placement
from bridge.errors import BackendUnavailable
from bridge.settings import Settings
from bridge.weights import check_weights

MOST_LAYERS = 10
"""The most layers that one picture is split into."""
REMEDY = "Run “python3 install.py” again."
"""What mends missing or damaged weights."""
BACKGROUND_SECONDS = (1.0, 1.5)
"""Seconds for a single layer: to begin with, and for each megapixel."""
SPLIT_SECONDS = (4.0, 2.5)
"""The same for several layers."""


class Builtin:
    """The splitter that comes with Unflatten."""

    name = "builtin"
    placement = Placement(lane=CPU, limit=FixedLimit(1))
    Options: ClassVar[type[BaseModel]] = NoOptions
    credential = None

    def capabilities(self, options: NoOptions) -> Capabilities:
        """What it can do; unavailable where its weights are missing or damaged."""
        problem = weights_problem()
        return Capabilities(
            "Built-in splitter",
            layers=(1, MOST_LAYERS),
            unavailable=problem,
            remedy=REMEDY if problem else "",
        )

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        """Seconds on an ordinary computer for a picture of width × height pixels."""
        start, each = BACKGROUND_SECONDS if settings.num_layers == 1 else SPLIT_SECONDS
        return Estimate(seconds=start + each * width * height / 1e6)

    def open(self, options: NoOptions) -> AbstractContextManager[Model]:
        """The model, in a worker: only this imports numpy and what else it needs. Raises BackendUnavailable."""
        problem = weights_problem()
        if problem:
            raise BackendUnavailable(problem, REMEDY)
        from bridge.backends.builtin.model import BuiltinModel

        return nullcontext(BuiltinModel())


def weights_problem() -> str:
    """Why the weights cannot be used, as a sentence; empty where they can."""
    broken = any(weights.problem for weights in check_weights(Path(__file__).parent))
    return "The built-in splitter's weights are missing or damaged." if broken else ""
