"""The backend that splits pictures with Qwen-Image-Layered on this computer's own graphics card. Cheap to import."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

from pydantic import BaseModel

from bridge.backends.base import Capabilities, Estimate, FixedLimit, Model, Placement
from bridge.backends.diffusers import environment, library
from bridge.backends.diffusers import options as own
from bridge.backends.diffusers.machine import guess
from bridge.backends.diffusers.needs import best_of
from bridge.backends.diffusers.plan import GB
from bridge.backends.shelf import ModelShelf
from bridge.errors import BackendUnavailable
from bridge.settings import Settings

SECONDS_A_STEP = 1.3
"""At 640, with four layers and guidance, on a card of the middle: others report 0.7 (H100) to 6 (RTX 4070 Ti)."""
STARTING = 20.0
"""Seconds for the caption, the drawing and the names."""
ACCELERATED = {"none": 1.0, "regular": 0.7, "high": 0.35}
CANCEL_PATIENCE = 20.0
"""Seconds: a worker that is ended takes a minute's loading with it."""
SETTINGS = frozenset(
    {
        "prompt",
        "negative_prompt",
        "num_layers",
        "num_inference_steps",
        "guidance_scale",
        "seed",
        "acceleration",
    }
)


class Diffusers:
    """Qwen-Image-Layered in the lane of the first graphics card."""

    name = "diffusers"
    placement = Placement(
        "gpu:0", FixedLimit(1), keep_alive=300.0, cancel_patience=CANCEL_PATIENCE, environment=environment.FOLDER
    )
    Options: ClassVar[type[BaseModel]] = own.Options
    credential = None

    @property
    def models(self) -> ModelShelf:
        """The models that it can be given."""
        from bridge.backends.diffusers.shelf import Shelf

        return Shelf()

    def capabilities(self, options: own.Options) -> Capabilities:
        """Whether its environment and a model are here; neither is loaded for that."""
        problem, remedy = "", ""
        try:
            library.find(options.model)
        except BackendUnavailable as error:
            problem, remedy = error.message, error.hint
        return Capabilities(
            "Qwen-Image-Layered on this computer",
            short="your graphics card",
            settings=SETTINGS,
            unavailable=problem,
            remedy=remedy,
        )

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        """Seconds on a card of the middle; the engine learns how far this computer is from it."""
        guided = 2 if settings.guidance_scale > 1 else 1
        layers = 4 if settings.num_layers == "auto" else settings.num_layers
        steps = settings.num_inference_steps * ACCELERATED[settings.acceleration]
        return Estimate(STARTING + steps * SECONDS_A_STEP * guided / 2 * (layers + 2) / 6)

    def open(self, options: own.Options) -> AbstractContextManager[Model]:
        """The model, in a worker of its environment; loaded with its first picture. Raises BackendUnavailable."""
        files = library.find(options.model or _best_here())
        return _opened(files, options)


def _best_here() -> str:
    """The name of the model that suits this computer best, of those that are here; empty where that cannot be told."""
    machine = guess(environment.accelerator())
    forms = {
        files.name: (files.form, files.transformer_bytes / GB, files.text_encoder_bytes / GB)
        for files in library.installed()
    }
    return best_of(forms, machine) if machine is not None else ""


@contextmanager
def _opened(files: library.ModelFiles, options: own.Options) -> Generator[Model]:
    from bridge.backends.diffusers.model import LayeredModel
    from bridge.backends.diffusers.residence import Residence

    residence = Residence(files, options, environment.accelerator())
    try:
        yield LayeredModel(residence)
    finally:
        residence.close()
