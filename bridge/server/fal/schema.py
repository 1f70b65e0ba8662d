"""What comes in, with the names, defaults, ranges and descriptions of the endpoint's page.

openapi.json says the same; a test holds the two together.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SAMPLE = "https://v3b.fal.media/files/b/0a86d421/6xSMYtyW-fm2ciM6dHEgB.png"


class QwenImageLayeredInput(BaseModel):
    """The request. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: Annotated[str | None, Field(description="A caption for the input image.")] = None
    image_url: Annotated[str, Field(description="The URL of the input image.", examples=[SAMPLE])]
    negative_prompt: Annotated[str, Field(description="The negative prompt to generate an image from.")] = ""
    num_inference_steps: Annotated[int, Field(ge=1, le=50, description="The number of inference steps to perform.")] = (
        28
    )
    guidance_scale: Annotated[
        float, Field(ge=1, le=20, description="The guidance scale to use for the image generation.")
    ] = 5
    seed: Annotated[
        int | None,
        Field(description="The same seed and the same prompt give the same image every time."),
    ] = None
    sync_mode: Annotated[
        bool,
        Field(description="If true, the media are returned as data URIs, and are not in the request history."),
    ] = False
    num_layers: Annotated[int, Field(ge=1, le=10, description="The number of layers to generate.")] = 4
    enable_safety_checker: Annotated[bool, Field(description="If true, the safety checker is enabled.")] = True
    output_format: Annotated[Literal["png", "webp"], Field(description="The format of the generated image.")] = "png"
    acceleration: Annotated[Literal["none", "regular", "high"], Field(description="The acceleration level to use.")] = (
        "regular"
    )


class Initiation(BaseModel):
    """A file that is about to be uploaded."""

    model_config = ConfigDict(extra="ignore")

    file_name: str = "upload.bin"
    content_type: str = "application/octet-stream"
