"""What a user may set, with the seed endpoint's own names, defaults and ranges."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**31 - 1

NumLayers = Annotated[int, Field(ge=1, le=10)] | Literal["auto"]


class Settings(BaseModel):
    """One job's settings. Unknown fields are ignored, so that an older bridge serves a newer plugin.

    num_layers: 1–10, the most layers wanted, or "auto". seed: 0–2³¹−1; None draws one, which the report names.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str = ""
    negative_prompt: str = ""
    num_layers: NumLayers = "auto"
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=1, le=20)] = 5.0
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    acceleration: Literal["none", "regular", "high"] = "regular"
    enable_safety_checker: bool = True
    output_format: Literal["png", "webp"] = "png"
    sync_mode: bool = False
