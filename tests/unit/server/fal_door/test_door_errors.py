"""Our errors in fal's words: status, type, and whether it is worth to try again."""

import json

import pytest
from bridge.jobs.reasons import Abandoned, Busy, CutOff, LayersGone, ShuttingDown

from bridge.errors import OutOfSpace, UnflattenError, WorkerDied
from bridge.server.fal_door.errors import LONGEST_ECHO, FalError, of_error, of_pydantic
from bridge.server.fal_door.schema import QwenImageLayeredInput


def of_code(code: str, *, retryable: bool = False) -> FalError:
    return of_error(UnflattenError("It went wrong.", "Do this.", code=code, retryable=retryable))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("bad_picture", 422, "image_load_error"),
        ("image_too_small", 422, "image_too_small"),
        ("file_too_large", 422, "file_too_large"),
        ("file_download_error", 422, "file_download_error"),
        ("nothing_found", 422, "no_media_generated"),
        ("content_policy_violation", 422, "content_policy_violation"),
        ("refused_content", 422, "content_policy_violation"),
        ("cancelled", 499, "client_cancelled"),
        ("request_timeout", 504, "request_timeout"),
        ("backend_unavailable", 500, "downstream_service_unavailable"),
        ("fal_balance", 500, "downstream_service_unavailable"),
        ("fal_timeout", 500, "downstream_service_unavailable"),
        ("checker_missing", 500, "internal_server_error"),
        ("something_new", 500, "internal_server_error"),
    ],
)
def test_each_code_has_its_status_and_type(code: str, status: int, kind: str) -> None:
    error = of_code(code)
    assert (error.status, error.error_type) == (status, kind)
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
    for code in (
        "interrupted",
        "worker_died",
        "disk_full",
        "fal_timeout",
        "overtime",
        "connection",
        "gone",
        "internal",
    ):
        assert of_code(code, retryable=True).status not in (502, 503, 504)
    assert of_code("request_timeout").response().headers["x-fal-request-timeout-type"] == "user"


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
