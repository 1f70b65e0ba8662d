"""Our errors in fal's words: status, type, and whether it is worth to try again."""

import itertools
import json
from typing import get_args

import pytest

from bridge.errors import Kind, OutOfSpace, UnflattenError, WorkerDied
from bridge.jobs.errors import Abandoned, Busy, CutOff, LayersGone, ShuttingDown
from bridge.server.fal.errors import LONGEST_ECHO, FalError, of_error, of_pydantic
from bridge.server.fal.submission import QwenImageLayeredInput


def of_kind(kind: Kind, code: str = "something_new", *, retryable: bool = False) -> FalError:
    return of_error(UnflattenError("It went wrong.", "Do this.", code=code, kind=kind, retryable=retryable))


@pytest.mark.parametrize(
    ("kind", "code", "status", "told"),
    [
        ("picture", "bad_picture", 422, "image_load_error"),
        ("picture", "image_too_small", 422, "image_too_small"),
        ("picture", "image_too_large", 422, "image_too_large"),
        ("picture", "unsupported_image_format", 422, "unsupported_image_format"),
        ("picture", "file_too_large", 422, "file_too_large"),
        ("picture", "file_download_error", 422, "file_download_error"),
        ("settings", "bad_settings", 422, "value_error"),
        ("no_layers", "nothing_found", 422, "no_media_generated"),
        ("content", "refused_content", 422, "content_policy_violation"),
        ("content", "something_new", 422, "content_policy_violation"),
        ("cancelled", "cancelled", 499, "client_cancelled"),
        ("internal", "request_timeout", 504, "request_timeout"),
        ("service", "backend_unavailable", 500, "downstream_service_unavailable"),
        ("service", "something_new", 500, "downstream_service_unavailable"),
        ("service", "image_too_small", 500, "downstream_service_unavailable"),
        ("resources", "disk_full", 500, "internal_server_error"),
        ("internal", "checker_missing", 500, "internal_server_error"),
        ("internal", "something_new", 500, "internal_server_error"),
    ],
)
def test_each_kind_has_its_status_and_type(kind: Kind, code: str, status: int, told: str) -> None:
    error = of_kind(kind, code)
    assert (error.status, error.error_type) == (status, told)
    assert error.sentence == "It went wrong. Do this."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *((Busy(500), 429), (ShuttingDown(), 503), (CutOff(), 500), (LayersGone(), 500), (Abandoned(), 499)),
        *((OutOfSpace("Full.", ""), 500), (WorkerDied("It ended.", ""), 500)),
    ],
)
def test_each_reason_has_its_status(error: UnflattenError, status: int) -> None:
    told = of_error(error)
    assert told.status == status
    assert told.response().headers["x-fal-retryable"] == ("true" if error.retryable else "false")


def test_no_failure_of_a_request_that_has_ended_makes_a_client_run_it_again() -> None:
    """JavaScript's client does so at 502 to 504, unless a user's own time to start ran out."""
    codes = ("interrupted", "worker_died", "disk_full", "overtime", "gone", "internal", "something_new")
    for kind, code in itertools.product(get_args(Kind), codes):
        assert of_kind(kind, code, retryable=True).status not in (502, 503, 504)
    told = of_kind("internal", "request_timeout").response()
    assert told.headers["x-fal-request-timeout-type"] == "user"


def test_pydantic_s_findings_under_fal_s_names() -> None:
    given = {"num_layers": 11, "guidance_scale": 0.5, "output_format": "jpeg", "seed": 1.5}
    with pytest.raises(ValueError) as wrong:
        QwenImageLayeredInput.model_validate(given)
    told = of_pydantic(wrong.value.errors(include_url=False), within=("body",))  # type: ignore[attr-defined]
    by_name = {each["loc"][1]: each for each in told}
    assert by_name["image_url"]["type"] == "missing"
    assert (by_name["num_layers"]["type"], by_name["num_layers"]["ctx"]) == ("less_than_equal", {"le": 10})
    assert (by_name["guidance_scale"]["type"], by_name["guidance_scale"]["input"]) == ("greater_than_equal", 0.5)
    assert by_name["output_format"]["type"] == "one_of"
    assert by_name["output_format"]["ctx"] == {"expected": ["png", "webp"]}
    assert by_name["seed"]["type"] == "int_from_float"
    assert all(each["url"] == f"https://docs.fal.ai/errors#{each['type']}" and each["msg"] for each in told)


@pytest.mark.parametrize("given", [float("nan"), float("inf"), "\ud800", ["a" * LONGEST_ECHO], {"a": b"bytes"}, b"x"])
def test_an_answer_can_always_be_said_in_json(given: object) -> None:
    with pytest.raises(ValueError) as wrong:
        QwenImageLayeredInput.model_validate({"image_url": given, "num_layers": given})
    told = of_pydantic(wrong.value.errors(include_url=False), within=("body",))  # type: ignore[attr-defined]
    answer = FalError(422, {"detail": told}).response()
    assert json.loads(bytes(answer.body))["detail"]
    assert len(answer.body) < 3000
