"""A request as a client submits it: its body and headers, checked before anything is done for it.

What comes in has the names, defaults, ranges and descriptions of the endpoint's page. openapi.json says the same; a
test holds the two together.
"""

import hashlib
import json
import math
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from bridge import clock
from bridge.server.fal.body import read_json_and_picture
from bridge.server.fal.errors import Detail, FalError, detail, of_pydantic, unprocessable
from bridge.server.fal.records import RequestRecord
from bridge.settings import MAX_SEED, Settings

LEAST_TIMEOUT = 1.0
LONGEST_LISTED = 2048
"""Characters of an address that the history keeps."""
LONGEST_EXPIRY = 10 * 365 * 86_400.0

Checked = TypeVar("Checked", bound=BaseModel)

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


@dataclass(frozen=True)
class Submission:
    """A request as submitted. wrong: what is wrong with its input, which is None then. picture: the data URI in it,
    in pieces, where it is long; its input has the beginning then.

    keep_io: whether its input and output may be listed. start_within: seconds until it must have begun. keep_for:
    seconds that its files may be kept. retry: whether it may be run again after a crash.
    """

    input: QwenImageLayeredInput | None
    wrong: list[Detail]
    picture: list[bytes]
    batch: bool = False
    keep_io: bool = True
    start_within: float | None = None
    keep_for: float | None = None
    retry: bool = True


async def read_submission(request: Request) -> Submission:
    """The request as it came. Raises FalError where it is not even JSON, or its headers cannot be read."""
    headers = request.headers
    options: dict[str, Any] = {
        "batch": headers.get("x-fal-queue-priority", "normal").lower() == "low",
        "keep_io": headers.get("x-fal-store-io", "1").strip().lower() not in ("0", "false", "no"),
        "start_within": _read_timeout(headers.get("x-fal-request-timeout")),
        "keep_for": read_lifecycle(request),
        "retry": headers.get("x-fal-no-retry", "0").strip().lower() not in ("1", "true", "yes"),
    }
    if "fal_webhook" in request.query_params:
        told = detail("feature_not_supported", "No webhooks are called here: ask for the status.", ["query"])
        raise unprocessable([{**told, "loc": ["query", "fal_webhook"]}])
    body, picture = await read_json_and_picture(request)
    try:
        return Submission(QwenImageLayeredInput.model_validate(body), [], picture, **options)
    except ValidationError as error:
        wrong = of_pydantic(error.errors(include_url=False), within=("body",))
        return Submission(None, wrong, [], **options)


def checked(model: type[Checked], value: object, place: str) -> Checked:
    """A value as `model` takes it. place: where it lies in the request. Raises FalError."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise unprocessable(of_pydantic(error.errors(include_url=False), within=(place,))) from None


def checked_query(model: type[Checked], request: Request) -> Checked:
    """The address's query as `model` takes it: what the model has as a list may be given several times."""
    given = request.query_params
    lists = {name for name, about in model.model_fields.items() if get_origin(about.annotation) is list}
    values = {name: given.getlist(name) if name in lists else given[name] for name in given}
    return checked(model, values, "query")


def read_lifecycle(request: Request) -> float | None:
    """Seconds that files may be kept, by either of the headers that clients send; None for as long as usual."""
    given = request.headers.get("x-fal-object-lifecycle-preference") or request.headers.get("x-fal-object-lifecycle")
    if not given:
        return None
    try:
        seconds = json.loads(given).get("expiration_duration_seconds")
        kept = None if seconds is None else float(seconds)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        kept = math.nan
    if kept is not None and not 0 < kept <= LONGEST_EXPIRY:
        raise _wrong_header("X-Fal-Object-Lifecycle-Preference", "must be {“expiration_duration_seconds”: seconds}.")
    return kept


def settings_of(given: QwenImageLayeredInput) -> Settings:
    """The input as a backend takes it. Any whole number may be a seed here; a backend knows 31 bits."""
    seed = None if given.seed is None else given.seed % (MAX_SEED + 1)
    return Settings.model_validate(
        {**given.model_dump(exclude={"image_url"}), "prompt": given.prompt or "", "seed": seed}
    )


def new_record(submission: Submission) -> RequestRecord:
    """What the API keeps of a request that has just come."""
    now, given = clock.now(), submission.input
    record = RequestRecord(
        uuid.uuid4().hex,
        now,
        keep_io=submission.keep_io,
        keep_for=submission.keep_for,
        start_by=None if submission.start_within is None else now + submission.start_within,
    )
    if given is not None:
        record.sync, record.seed = given.sync_mode, given.seed
        if record.keep_io:
            record.input = _listed(given.model_dump(exclude_unset=True))
    return record


def fingerprint(submission: Submission, given: QwenImageLayeredInput, picture: str, splitter: object) -> str:
    """What equal requests have in common: all that is asked of the layers, and how they may be kept.

    picture: its file's sha256, or its address where it is elsewhere. splitter: who splits, as plain values.
    """
    same = {**given.model_dump(exclude={"image_url"}), "picture": picture, "splitter": splitter}
    kept = {"keep_io": submission.keep_io, "keep_for": submission.keep_for}
    return hashlib.sha256(json.dumps({**same, **kept}, sort_keys=True).encode()).hexdigest()


def _read_timeout(given: str | None) -> float | None:
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not LEAST_TIMEOUT <= seconds < math.inf:
        raise _wrong_header("X-Fal-Request-Timeout", f"must be a number of seconds, at least {LEAST_TIMEOUT:.0f}.")
    return min(seconds, LONGEST_EXPIRY)


def _wrong_header(name: str, must: str) -> FalError:
    told = detail("value_error", f"The header {name} {must}", ["header", name])
    return unprocessable([told])


def _listed(given: dict[str, Any]) -> dict[str, Any]:
    """The input as the history shows it: without a whole picture in it."""
    url = str(given.get("image_url", ""))
    return given if len(url) <= LONGEST_LISTED else {**given, "image_url": url[:64] + "…"}
