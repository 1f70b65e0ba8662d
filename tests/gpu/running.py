"""The model run by hand, for tests: parts of a folder, frames of a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bridge.backends.base import JobContext, Preview, Progress
from bridge.backends.diffusers import library, loading
from bridge.backends.diffusers.model import Run
from bridge.backends.diffusers.plan import Plan
from bridge.backends.diffusers.reader import Reader
from bridge.settings import Settings

WHOLE = Plan("whole", "as they are", "device", "device", False, 0, 0, 0)


def files(folder: Path, **others: Any) -> library.ModelFiles:
    """The files of a model in a folder in diffusers' layout."""
    told: dict[str, Any] = {
        "name": "tiny",
        "base": folder,
        "transformer": folder / "transformer",
        "text_encoder": folder / "text_encoder",
        "form": "bf16",
    }
    return library.ModelFiles(**{**told, **others})


def loaded(folder: Path, plan: Plan = WHOLE, **others: Any) -> loading.Parts:
    """Loaded on the processor."""
    return loading.load(files(folder, **others), plan, "cpu")


def frames(
    parts: loading.Parts,
    image: Image.Image,
    *,
    layers: int = 2,
    steps: int = 2,
    seed: int = 0,
    scale: float = 4.0,
    acceleration: str = "none",
    job: JobContext | None = None,
    heard: list[Progress | Preview] | None = None,
) -> list[np.ndarray[Any, Any]]:
    """The frames (h, w, 4) uint8 of an RGBA image of the model's size."""
    job = job or JobContext(seed)
    settings = Settings.model_validate(
        {"num_inference_steps": steps, "guidance_scale": scale, "acceleration": acceleration}
    )
    reader = Reader(parts, job.checkpoint)
    with parts.on_device("text_encoder"):
        prompt, negative = reader.embed("x"), reader.embed(" ") if scale > 1 else None
    run = Run(parts, prompt, negative, settings, job).frames(image, layers, seed)
    while True:
        try:
            step = next(run)
        except StopIteration as end:
            return end.value
        if heard is not None:
            heard.append(step)
