"""What comes in a request's body: odd values in words, and no more memory than the picture is large."""

import asyncio
import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import BadPicture
from bridge.server.fal import body, data_uri
from bridge.server.fal.body import BEGINNING, LONG, JSONBody
from tests.unit.trial.client import noise
from tests.unit.trial.fal_api import QUEUE, RUN, Api, arguments, saved
from tests.unit.trial.fal_api import data_uri as as_data_uri

MIB = 2**20
ODD = [None, True, [], {}, ["x"], {"a": 1}, "x", "\ud800", 10**300, -1, 1.5, float("inf"), float("nan"), [[[[]]]]]
FIELDS = ["prompt", "image_url", "negative_prompt", "num_inference_steps", "guidance_scale", "seed", "sync_mode"]
FIELDS += ["num_layers", "enable_safety_checker", "output_format", "acceleration"]


def post(api: Api, path: str, content: bytes | Iterator[bytes]) -> tuple[int, str]:
    answer = api.http.post(path, content=content)
    return answer.status_code, answer.text


@pytest.mark.parametrize("field", FIELDS)
def test_a_value_of_another_kind_is_refused_in_words_or_taken(api: Api, field: str) -> None:
    for value in ODD:
        status, told = post(api, RUN, json.dumps(arguments(**{field: value})).encode())
        assert status in (200, 422), (value, told)
        assert "went wrong inside" not in told


@pytest.mark.parametrize("path", [RUN, QUEUE, "/rest/storage/upload/initiate"])
@pytest.mark.parametrize("depth", [40, 500, 900, 200_000])
def test_what_is_nested_deeply_is_refused(api: Api, path: str, depth: int) -> None:
    depth = min(depth, 120_000)
    for start, end in (("", ""), ('{"prompt": ', "}"), ('{"image_url": "data:", "other": ', "}")):
        status, told = post(api, path, f"{start}{'[' * depth}{']' * depth}{end}".encode())
        assert (status, json.loads(told)["detail"][0]["type"]) == (422, "json_invalid")


BOMBS = [
    b"[" + b"1," * 15 * MIB + b"1]",
    b"[" * 31 * MIB,
    b"{}" + b" " * 31 * MIB,
    b'{"a":"' + b"\\u0041" * 5 * MIB,
    b'{"prompt": "' + b"a" * 31 * MIB + b'"}',
    b'["' + b'","' * 10 * MIB,
    b'"' + b'\\"' * 15 * MIB,
    b'{"image_url": "data:,' + b"%41" * 10 * MIB + b'", "prompt": "' + b"b" * LONG * 2 + b'"}',
    b'{"image_url": "data:,' + b"%41" * 10 * MIB + b'"}',
    b'{"image_url": "data:;base64,' + b"\\/" * 15 * MIB + b'"}',
]


@pytest.mark.parametrize("content", BOMBS, ids=range(len(BOMBS)))
def test_a_body_of_nothing_but_size_costs_less_than_itself(api: Api, content: bytes) -> None:
    bridge = psutil.Process(api.bridge.process.pid)
    before, peak = bridge.memory_info().rss, 0
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, api, RUN, content)
        while not answer.done():
            peak = max(peak, bridge.memory_info().rss)
    status, told = answer.result()
    assert status in (413, 422), told
    assert peak - before < 1.5 * body.MOST_JSON


def test_the_largest_picture_in_a_body_costs_little_more_than_itself(api: Api) -> None:
    picture = saved(noise(2500, 2350), "PNG", compress_level=0)
    content = json.dumps(arguments(image_url=as_data_uri(picture))).encode()
    assert 29 * MIB < len(content) < body.MOST_JSON
    api.run()
    bridge = psutil.Process(api.bridge.process.pid)
    before, peak = bridge.memory_info().rss, 0
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, api, QUEUE, content)
        while not answer.done():
            peak = max(peak, bridge.memory_info().rss)
    status, told = answer.result()
    assert status == 200, told
    assert peak - before < 1.5 * body.MOST_JSON
    assert bridge.memory_info().rss - before < 10 * MIB


# The parts


def read(text: bytes, size: int) -> tuple[object, bytes]:
    parts = JSONBody()
    for at in range(0, len(text), size):
        parts.feed(text[at : at + size])
    return parts.read(), b"".join(parts.long)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.integers(1, 40), st.booleans())
@settings(max_examples=200, deadline=None)
def test_short_json_is_read_as_json_is(value: object, size: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    assert read(text, size) == (json.loads(text), b"")


@given(st.integers(1, 5000), st.sampled_from(["", "a", '"', "\\", "é", "/", "\n"]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_one_long_text_is_set_apart(size: int, odd: str, escaped: bool) -> None:
    long = ("abcdefg/" + odd) * 10_000
    text = json.dumps({"a": '"\\', "image_url": long, "z": [1, "ö"]}).encode()
    text = text.replace(b"/", b"\\/") if escaped else text
    told, apart = read(text, size)
    assert apart.decode() == long
    assert isinstance(told, dict) and told["a"] == '"\\' and told["z"] == [1, "ö"]
    assert told["image_url"].encode() == apart[:BEGINNING] or odd == "é"


@given(st.binary(min_size=1, max_size=3000), st.booleans(), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_a_data_uri_is_decoded_piece_by_piece(content: bytes, is_base64: bool, size: int) -> None:
    coded = base64.b64encode(content) if is_base64 else "".join(f"%{byte:02X}" for byte in content).encode()
    head = b"data:image/png" + (b";base64," if is_base64 else b",")
    pieces = [head + coded[:7], *(coded[at : at + size] for at in range(7, len(coded), size))]
    asyncio.run(data_uri.decode(pieces))
    assert b"".join(pieces) == content


@pytest.mark.parametrize(
    "uri", ["data:", "data:,", "data:image/png;base64", "data:;base64,", "data:;base64,====", "data:;base64,QQ==QUFB"]
)
def test_a_data_uri_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(BadPicture):
        asyncio.run(data_uri.decode([uri.encode()]))
