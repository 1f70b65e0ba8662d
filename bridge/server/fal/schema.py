"""What goes in and out, with the names, defaults, ranges and descriptions of the endpoint's page."""

from typing import Annotated, Any, Literal

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


class ImageFile(BaseModel):
    """One layer, as large as the picture, transparent where it covers nothing."""

    url: Annotated[str, Field(description="Where the file can be fetched, or the file itself as a data URI.")]
    content_type: str | None = None
    file_name: str | None = None
    file_size: Annotated[int | None, Field(description="Bytes.")] = None
    width: int | None = None
    height: int | None = None


class Timings(BaseModel):
    """Seconds. inference: taking the picture apart; finish: making the layers exact."""

    inference: float
    finish: float


class QwenImageLayeredOutput(BaseModel):
    """The result. The layers come back to front."""

    images: Annotated[list[ImageFile], Field(description="The generated image files info.")]
    timings: Timings
    seed: Annotated[int, Field(description="The seed that was given, or else the one that was drawn.")]
    has_nsfw_concepts: Annotated[list[bool], Field(description="Whether the generated images contain NSFW concepts.")]
    prompt: Annotated[str | None, Field(description="The prompt used to generate the image.")] = None


class LogLine(BaseModel):
    message: str
    level: str
    source: str
    timestamp: str


class QueueStatus(BaseModel):
    """Where a request is."""

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    request_id: str
    response_url: str
    status_url: str
    cancel_url: str
    queue_position: Annotated[int | None, Field(description="How many requests go first, while in the queue.")] = None
    logs: list[LogLine] | None = None
    metrics: dict[str, float] | None = None
    error: Annotated[str | None, Field(description="What went wrong, once completed.")] = None
    error_type: str | None = None


class CancelStatus(BaseModel):
    status: Literal["CANCELLATION_REQUESTED", "ALREADY_COMPLETED", "NOT_FOUND"]


class Problem(BaseModel):
    """One thing that is wrong with the input."""

    loc: list[str | int]
    msg: str
    type: str
    url: str
    ctx: dict[str, Any] | None = None
    input: Any = None


class Problems(BaseModel):
    detail: list[Problem]


class Refusal(BaseModel):
    """What is wrong with the request as such."""

    detail: str
    error_type: str | None = None


class Token(BaseModel):
    """Leave to upload files for a while."""

    token: str
    token_type: str
    base_url: str
    expires_at: str


class Initiated(BaseModel):
    """Where to PUT a file, once, and where it can be fetched then."""

    upload_url: str
    file_url: str


class Initiation(BaseModel):
    """A file that is about to be uploaded."""

    model_config = ConfigDict(extra="ignore")

    file_name: str = "upload.bin"
    content_type: str = "application/octet-stream"


class Uploaded(BaseModel):
    access_url: str


class RequestItem(BaseModel):
    """A request in the history, or one that still waits or runs: then it has no end and no status code."""

    request_id: str
    endpoint_id: str
    sent_at: str
    started_at: str | None = None
    ended_at: str | None = None
    status_code: int | None = None
    duration: Annotated[float | None, Field(description="Seconds from sent to ended.")] = None
    json_input: Any = None
    json_output: Any = None


class RequestList(BaseModel):
    items: list[RequestItem]
    next_cursor: str | None
    has_more: bool
