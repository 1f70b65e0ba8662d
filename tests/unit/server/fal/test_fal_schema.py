"""The served OpenAPI: field by field as the endpoint's page, and kept to whatever is sent."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.server.fal.app import DOCUMENT
from bridge.server.fal.platform import ListQuery
from bridge.server.fal.submission import Initiation, QwenImageLayeredInput
from tests.unit.trial.fal_api import ENDPOINT, KEY, PLATFORM, Api, open_api
from tests.unit.trial.running import Starter

ROOT = Path(__file__).parents[4]
PAGE = ROOT.parent / "shared" / "fal-qwen-image-layered.txt"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@dataclass(frozen=True)
class Told:
    """What the page tells of a field. kind: in the page's words; None where it tells nothing."""

    kind: str
    required: bool
    default: Any = None
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] | None = None


INPUT = {
    "prompt": Told("string", False),
    "image_url": Told("string", True),
    "negative_prompt": Told("string", False, ""),
    "num_inference_steps": Told("integer", False, 28, 1, 50),
    "guidance_scale": Told("float", False, 5, 1, 20),
    "seed": Told("integer", False),
    "sync_mode": Told("boolean", False, False),
    "num_layers": Told("integer", False, 4, 1, 10),
    "enable_safety_checker": Told("boolean", False, True),
    "output_format": Told("OutputFormatEnum", False, "png", options=("png", "webp")),
    "acceleration": Told("AccelerationEnum", False, "regular", options=("none", "regular", "high")),
}
OUTPUT = {
    "images": Told("list<ImageFile>", True),
    "timings": Told("Timings", True),
    "seed": Told("integer", True),
    "has_nsfw_concepts": Told("list<boolean>", True),
    "prompt": Told("string", False),
}
"""The page's facts, for a checkout that has no page beside it; a test holds the two together."""

PLAIN = {"string": "string", "integer": "integer", "float": "number", "boolean": "boolean"}


def read_page(title: str) -> dict[str, Told]:
    """The fields under one of the page's headings."""
    text = PAGE.read_text("utf-8").split(f"### {title}\n", 1)[1]
    text = re.split(r"\n(?:###|\*\*\w)", text, maxsplit=1)[0]
    fields: dict[str, Told] = {}
    for name, kind, need, rest in re.findall(
        r"^- \*\*`(\w+)`\*\* \(`([^`]+)`, _(\w+)_\)(.*?)(?=^- \*\*`|\Z)", text, re.MULTILINE | re.DOTALL
    ):
        default = re.search(r"^  - Default: `(.+)`$", rest, re.MULTILINE)
        span = re.search(r"^  - Range: `(.+)` to `(.+)`$", rest, re.MULTILINE)
        options = re.search(r"^  - Options: (.+)$", rest, re.MULTILINE)
        fields[name] = Told(
            kind,
            need == "required",
            None if default is None else _value(default[1]),
            None if span is None else _value(span[1]),
            None if span is None else _value(span[2]),
            None if options is None else tuple(re.findall(r'"(\w+)"', options[1])),
        )
    return fields


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return text.strip('"') if text.startswith('"') else float(text)


@pytest.mark.skipif(not PAGE.is_file(), reason="the endpoint's page is not beside this checkout")
@pytest.mark.parametrize(("title", "table"), [("Input Schema", INPUT), ("Output Schema", OUTPUT)])
def test_the_table_is_the_page_s(title: str, table: dict[str, Told]) -> None:
    assert read_page(title) == table


def test_the_document_says_of_the_input_what_is_checked() -> None:
    served = json.loads(DOCUMENT.read_bytes())["components"]["schemas"]
    for model in (QwenImageLayeredInput, Initiation):
        checked = untitled(model.model_json_schema())
        assert served[model.__name__] == checked
        assert list(served[model.__name__]["properties"]) == list(checked["properties"])


def test_the_document_says_of_the_list_s_query_what_is_checked() -> None:
    path = json.loads(DOCUMENT.read_bytes())["paths"][PLATFORM]["get"]
    served = {each["name"]: each for each in path["parameters"]}
    checked = untitled(ListQuery.model_json_schema())
    assert set(served) == set(checked["properties"])
    assert {name for name, each in served.items() if each["required"]} == set(checked["required"])
    for name, schema in checked["properties"].items():
        [kind] = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
        for fact in ("type", "minimum", "maximum", "minItems", "maxItems", "enum", "items"):
            assert served[name]["schema"].get(fact) == kind.get(fact), (name, fact)


def untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the titles that pydantic makes of names."""
    named = {name: each for name, each in schema.items() if name != "title"}
    return {name: untitled(each) if isinstance(each, dict) else each for name, each in named.items()}


@pytest.fixture(scope="module")
def schemas(api: Api) -> dict[str, Any]:
    return api.http.get("/openapi.json").json()["components"]["schemas"]


def test_the_input_is_the_page_s_field_by_field(schemas: dict[str, Any]) -> None:
    served = schemas["QwenImageLayeredInput"]
    assert list(served["properties"]) == list(INPUT)
    assert served["required"] == [name for name, told in INPUT.items() if told.required]
    for name, told in INPUT.items():
        check_field(served["properties"][name], told)


def test_the_output_is_the_page_s_field_by_field(schemas: dict[str, Any]) -> None:
    served = schemas["QwenImageLayeredOutput"]
    assert list(served["properties"]) == list(OUTPUT)
    assert served["required"] == [name for name, told in OUTPUT.items() if told.required]
    for name, told in OUTPUT.items():
        check_field(served["properties"][name], told)
    assert schemas["ImageFile"]["required"] == ["url"]


def check_field(served: dict[str, Any], told: Told) -> None:
    """Kind, default, range and options; where the page gives no default, leaving out and null are the same."""
    item = re.fullmatch(r"list<(\w+)>", told.kind)
    if item is not None:
        assert served["type"] == "array"
        check_kind(served["items"], item[1])
        return
    kinds = [each for each in served.get("anyOf", [served]) if each.get("type") != "null"]
    assert len(kinds) == 1
    if told.options is None:
        check_kind(kinds[0], told.kind)
    else:
        assert tuple(kinds[0]["enum"]) == told.options
    assert served.get("default") == told.default
    assert (kinds[0].get("minimum"), kinds[0].get("maximum")) == (told.low, told.high)
    assert not {"exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"} & set(kinds[0])


def check_kind(served: dict[str, Any], kind: str) -> None:
    if kind in PLAIN:
        assert served["type"] == PLAIN[kind]
    else:
        assert served["$ref"] == f"#/components/schemas/{kind}"


def test_fal_s_own_place_serves_the_queue_s_document(api: Api) -> None:
    answer = api.http.get("/api/openapi/queue/openapi.json", params={"endpoint_id": ENDPOINT})
    told = answer.json()
    assert told["servers"] == [{"url": "https://queue.fal.run"}]
    assert set(told["paths"]) == {
        f"/{ENDPOINT}",
        f"/{ENDPOINT}/requests/{{request_id}}",
        f"/{ENDPOINT}/requests/{{request_id}}/status",
        f"/{ENDPOINT}/requests/{{request_id}}/status/stream",
        f"/{ENDPOINT}/requests/{{request_id}}/cancel",
    }
    assert told["info"]["x-fal-metadata"]["endpointId"] == ENDPOINT
    other = api.http.get("/api/openapi/queue/openapi.json", params={"endpoint_id": "fal-ai/flux"})
    assert other.status_code == 404


# Whatever is sent


def test_no_answer_is_undocumented_and_none_an_accident(start: Starter) -> None:
    # the sample's server does not answer here: each fetch of it ends at once, and none leaves this computer
    api = open_api(start, internet={"v3b.fal.media": 9})
    done = api.submit()
    api.wait(done)
    wrong = api.submit(num_layers=0)
    cancelled = api.submit(prompt="slow 30")
    api.http.put(f"/queue/{ENDPOINT}/requests/{cancelled}/cancel")
    api.wait(cancelled)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
        *("--header", f"Authorization: Key {KEY}", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "15", "--seed", "1", "--generation-database", "none", "--request-timeout", "30"),
        "--no-color",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.unit.server.fal.hooks", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command,
        env={**os.environ, **hooks, "TRIAL_REQUESTS": ",".join([done, wrong, cancelled])},
        cwd=api.bridge.data,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    print(ran.stdout[-3000:])
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert int(re.findall(r"(\d+) generated", ran.stdout)[0]) > 500
    selected, tested = re.findall(r"Selected: (\d+)/\d+\s+Tested: (\d+)", ran.stdout)[0]
    assert selected == tested
    split = len(api.listed(status="success", limit=100))
    print(split, "pictures were split")
    assert split > 20, "too little of it was more than a refusal"
