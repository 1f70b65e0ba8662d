"""The backend's own options; those that are decided once for this computer are marked so."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bridge.backends.base import computer_wide
from bridge.backends.diffusers.geometry import Resolution
from bridge.backends.diffusers.plan import Layout


class Options(BaseModel):
    """What a job may name, and what is the computer's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[
        str, Field(max_length=64, description="Which of the models that “unflatten models” lists; empty: the first.")
    ] = ""
    resolution: Annotated[
        Resolution,
        Field(description="640 or 1024: the area that the model works at; 640 separates better and is quicker."),
    ] = 640
    layout: Annotated[
        Layout, Field(description="auto, or how the model is laid out over the memory: see the README.")
    ] = "auto"
    name_layers: Annotated[bool, Field(description="Whether the vision model names the layers by what they show.")] = (
        True
    )
    keep_alive: float = computer_wide(
        300.0, ge=0, le=86_400, description="Seconds that the model stays loaded after its last picture."
    )
    leaves_with_client: bool = computer_wide(
        False, description="Whether the model goes as soon as Krita is closed, whatever keep-alive says."
    )
