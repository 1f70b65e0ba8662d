"""Messages that JSON can carry and nobody means: each is answered in words, and the session lives on."""

import json

import pytest
from websockets.exceptions import ConnectionClosed

from bridge import protocol
from bridge.server import json_text
from tests.unit.trial.client import Client, new_job, noise
from tests.unit.trial.running import Bridge

HALF = "\ud800"
ODD = [None, True, [], {}, ["RGBA"], {"a": 1}, "x", HALF, 10**300, -1, 1.5, float("inf"), float("nan"), [[[[]]]]]
PICTURE = {"width": 64, "height": 64, "model": "RGBA", "depth": "U8", "channels": "RGBA", "chunks": 1}
DECOMPOSE = {
    "type": "decompose",
    "job": "",
    "settings": {"prompt": "", "num_layers": 4, "seed": 1, "guidance_scale": 5.0, "sync_mode": False},
    "backend": "trial",
    "options": {"shade": 3},
    "batch": False,
    "picture": {**PICTURE, "view_chunks": 0, "profile_bytes": 0},
}
FIELDS = [
    *((name,) for name in DECOMPOSE if name != "type"),
    *(("settings", name) for name in DECOMPOSE["settings"]),
    *(("picture", name) for name in DECOMPOSE["picture"]),
    ("options", "shade"),
]


def changed(fields: tuple[str, ...], value: object) -> dict[str, object]:
    message = json.loads(json.dumps({**DECOMPOSE, "job": new_job()}))
    inner = message
    for name in fields[:-1]:
        inner = inner[name]
    inner[fields[-1]] = value
    return message


def assert_lives(client: Client) -> None:
    client.say("estimate", width=100, height=100, backend="trial")
    assert client.hear()["type"] == "estimate"


@pytest.mark.parametrize("fields", FIELDS, ids=".".join)
def test_a_value_of_another_kind_is_refused_in_words_or_ignored(shared_bridge: Bridge, fields: tuple[str, ...]) -> None:
    for value in ODD:
        with shared_bridge.client() as client:
            message = changed(fields, value)
            client.socket.send(json.dumps(message))
            # a question after it is answered whether or not the message was taken for a good one
            client.say("estimate", width=100, height=100, backend="trial")
            answer = client.hear()
            if answer["type"] == "error":
                assert answer["code"] in ("protocol", "bad_settings", "bad_picture", "backend_unavailable"), value
                assert answer["message"] and len(answer["message"]) < 500
                assert client.hear()["type"] == "estimate"
            else:
                assert answer["type"] == "estimate"
    assert "ERROR" not in shared_bridge.log


@pytest.mark.parametrize(
    "message",
    [
        {"type": HALF},
        {"type": f"dance {HALF}"},
        {"type": "cancel", "job": HALF},
        {"type": "attach", "job": HALF * 32},
        {"type": "attach", "job": [HALF]},
        {"type": "attach", "job": "0" * 32, "have": [HALF]},
        {"type": "estimate", "width": 64, "height": 64, "backend": HALF},
        {"type": "estimate", "width": 64, "height": 64, "backend": "trial", "options": {HALF: 1}},
        {"type": "estimate", "width": 64, "height": 64, "backend": "trial", "options": {"x" * 10_000: 1}},
        {"type": "estimate", "width": 64, "height": 64, "settings": {"acceleration": HALF}},
        {"type": "hello", "protocol": HALF},
    ],
    ids=repr,
)
def test_half_a_character_silences_nobody(shared_bridge: Bridge, message: dict[str, object]) -> None:
    with shared_bridge.client() as client:
        client.socket.send(json.dumps(message))
        answer = client.hear(5)
        assert answer["type"] == "error" and answer["code"] != "internal" and len(answer["message"]) < 500
        assert_lives(client)


def test_a_prompt_with_half_a_character_is_split_with_the_rest_of_it(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        job = new_job()
        message = {"job": job, "backend": "trial", "picture": PICTURE, "settings": {"prompt": f"a{HALF}b"}}
        client.socket.send(json.dumps({"type": "decompose", **message}))
        client.send_pixels(noise(64, 64))
        assert client.finish(job).kinds()[-1] == "done"


@pytest.mark.parametrize("depth", [40, 900, 200_000])
@pytest.mark.parametrize("start", ["", '{"type": "backends", "more": ', '{"type": "estimate", "options": '])
def test_what_is_nested_deeply_is_refused(shared_bridge: Bridge, depth: int, start: str) -> None:
    with shared_bridge.client() as client:
        depth = min(depth, 120_000)  # a frame of 256 KB holds no more
        client.socket.send(start + "[" * depth + "]" * depth + ("}" if start else ""))
        assert client.hear()["code"] == "protocol"
        assert_lives(client)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(shared_bridge: Bridge, number: str) -> None:
    with shared_bridge.client() as client:
        client.socket.send(f'{{"type": "estimate", "width": {number}, "height": 64}}')
        assert client.hear()["code"] == "protocol"
        assert_lives(client)


@pytest.mark.parametrize("version", [HALF, None, True, [1], 1.0, {}, 10**400, "1"])
def test_a_hello_of_another_kind_is_told_and_closed(shared_bridge: Bridge, version: object) -> None:
    with shared_bridge.client(spoken=False) as client:
        client.socket.send(json.dumps({"type": "hello", "protocol": version}))
        assert client.hear()["code"] == "protocol"
        with pytest.raises(ConnectionClosed):
            client.hear()


def test_whatever_is_said_can_be_written() -> None:
    text = protocol.encode("error", message=f"a{HALF}b", job="Ё")
    assert text.isascii() and protocol.decode(text, {"error": []})["job"] == "Ё"


def test_depth_is_of_brackets_outside_of_strings() -> None:
    deep = "[" * json_text.DEEPEST + "]" * json_text.DEEPEST
    json_text.check_depth(deep)
    json_text.check_depth(json.dumps({"prompt": "[" * 1000 + '"' + "\\" * 7}))
    with pytest.raises(ValueError, match="deep"):
        json_text.check_depth(f"[{deep}]")


@pytest.mark.parametrize("text", ['"' + "\\a" * 2_000_000, '"' * 1_000_001, '"' + '\\"' * 2_000_000])
def test_what_is_never_closed_is_looked_at_once(text: str) -> None:
    json_text.check_depth(text)
