"""What goes wrong, in fal's shapes, types and status codes: https://docs.fal.ai/errors."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from starlette.responses import Response

from bridge.errors import Kind, UnflattenError
from bridge.jobs.errors import Busy, CutOff, ShuttingDown
from bridge.limits import MAX_PIXELS, MAX_SIDE, MIN_SIDE

DOCS = "https://docs.fal.ai/errors#"
LONGEST_ECHO = 500
"""Characters of what was sent that an error quotes."""
MOST_SOURCE = 100 * 2**20
"""Bytes of an image file; from here on both clients would send it in parts."""

Detail = dict[str, Any]

_IMAGE = ("body", "image_url")
_KINDS = ["png", "jpeg", "webp", "gif", "bmp", "tiff", "avif"]
_CONTEXTS: dict[str, Detail] = {
    "image_too_small": {"min_width": MIN_SIDE, "min_height": MIN_SIDE},
    "image_too_large": {"max_width": MAX_SIDE, "max_height": MAX_SIDE, "max_pixels": MAX_PIXELS},
    "unsupported_image_format": {"supported_formats": _KINDS},
    "file_too_large": {"max_size": MOST_SOURCE},
}
_FOR_KINDS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "picture": ("image_load_error", _IMAGE),
    "settings": ("value_error", ("body",)),
    "content": ("content_policy_violation", _IMAGE),
    "no_layers": ("no_media_generated", _IMAGE),
}
"""What is wrong with the input, all 422: fal's type and the place."""
_PICTURE_TYPES = {"image_load_error", "file_download_error", *_CONTEXTS}
"""fal's types of what is wrong with a picture; our codes where they are the same."""
_FLAT: dict[str, tuple[int, str]] = {
    "request_timeout": (504, "request_timeout"),
    Busy.code: (429, "too_many_requests"),
    ShuttingDown.code: (503, "runner_scheduling_failure"),
    # never 503 for a request that has ended: clients would ask for it again, and it stays so
    CutOff.code: (500, "runner_server_error"),
}
"""What went wrong with the request as such, by code: status and error_type."""


class FalError(Exception):
    """An answer that is an error. error_type: of a flat one, where `body["detail"]` is a sentence."""

    def __init__(self, status: int, body: Detail, *, retryable: bool = False) -> None:
        super().__init__(str(status))
        self.status = status
        self.body = body
        self.retryable = retryable

    @property
    def error_type(self) -> str:
        wrong = self.body["detail"]
        flat_type: str | None = self.body.get("error_type")
        return flat_type or ("error" if isinstance(wrong, str) or not wrong else wrong[0]["type"])

    @property
    def sentence(self) -> str:
        """All that is wrong, for people."""
        detail = self.body["detail"]
        return detail if isinstance(detail, str) else " ".join(each["msg"] for each in detail)

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        told = {"X-Fal-Retryable": "true" if self.retryable else "false", **(headers or {})}
        if "error_type" in self.body:
            told["X-Fal-Error-Type"] = self.body["error_type"]
        if self.error_type == "request_timeout":
            told["X-Fal-Request-Timeout-Type"] = "user"  # without it Python's client would try again
        return json_response(self.body, self.status, told)


def flat(status: int, sentence: str, error_type: str | None = None, *, retryable: bool = False) -> FalError:
    """What is wrong with a request as such."""
    body = {"detail": sentence} if error_type is None else {"detail": sentence, "error_type": error_type}
    return FalError(status, body, retryable=retryable)


def not_found(what: str) -> FalError:
    return flat(404, f"{what} not found")


def detail(kind: str, sentence: str, loc: Sequence[str | int] = _IMAGE, context: Detail | None = None) -> Detail:
    """One thing that is wrong with the input."""
    told: Detail = {"loc": list(loc), "msg": sentence, "type": kind, "url": DOCS + kind}
    context = context or _CONTEXTS.get(kind)
    return {**told, "ctx": context} if context else told


def unprocessable(details: list[Detail]) -> FalError:
    return FalError(422, {"detail": details})


def of_pydantic(errors: Sequence[Mapping[str, Any]], *, within: tuple[str, ...] = ()) -> list[Detail]:
    """What pydantic found wrong, under fal's names. within: where the checked value itself lies, such as ("body",)."""
    return [_of_pydantic(each, within) for each in errors]


def _of_pydantic(error: Mapping[str, Any], within: tuple[str, ...]) -> Detail:
    kind = error["type"]
    context = {name: value for name, value in error.get("ctx", {}).items() if _is_plain(value)}
    if kind in ("literal_error", "enum"):
        kind = "one_of"
        context = {"expected": [each.strip(" '") for each in error["ctx"]["expected"].replace(" or ", ", ").split(",")]}
    told = detail(kind, error["msg"], [*within, *error["loc"]], context)
    given = error.get("input")
    if _is_plain(given) and len(json.dumps(given)) <= LONGEST_ECHO and kind != "missing":
        told["input"] = given
    return told


def of_error(error: UnflattenError) -> FalError:
    """Any of our errors as fal would tell it.

    What is wrong with a splitter, or a service that it leads to, is a 500: a client that gets 502 to 504 runs the
    request again by itself, and a service may have to be paid for again.
    """
    sentence = f"{error.message} {error.hint}".strip()
    if error.kind in _FOR_KINDS:
        kind, loc = _FOR_KINDS[error.kind]
        return unprocessable([detail(error.code if error.code in _PICTURE_TYPES else kind, sentence, loc)])
    if error.kind == "cancelled":
        return flat(499, sentence, "client_cancelled", retryable=error.retryable)
    if error.code in _FLAT:
        status, kind = _FLAT[error.code]
        return flat(status, sentence, kind, retryable=error.retryable)
    kind = "downstream_service_unavailable" if error.kind == "service" else "internal_server_error"
    return FalError(500, {"detail": [detail(kind, sentence, ["body"])]}, retryable=error.retryable)


def _is_plain(value: object) -> bool:
    """Whether JSON can say it."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(map(_is_plain, cast(list[object], value)))
    if isinstance(value, dict):
        return all(map(_is_plain, cast(dict[object, object], value).values()))
    return value is None or isinstance(value, str | int | bool)


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII: half a character, which JSON can carry and UTF-8 cannot, may come back in an error."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, dict(headers or {}), media_type="application/json")
