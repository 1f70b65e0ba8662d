"""What the plugin sends for a job, and what it makes of answers that no bridge should give."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from bridge import protocol
from tests.unit.plugin.answering import answering

SETTINGS = {
    "prompt": "a red boat",
    "negative_prompt": "text",
    "num_layers": 4,
    "num_inference_steps": 12,
    "guidance_scale": 3.5,
    "seed": 7,
    "acceleration": "high",
    "enable_safety_checker": False,
    "output_format": "webp",
    "sync_mode": True,
}
LAYERS = [{"name": "Background", "kind": "background", "rect": [0, 0, 8, 4]}]
ROWS = bytes(8 * 4 * 4)

Script = Callable[[ServerConnection, str], None]


@pytest.fixture(autouse=True, scope="module")
def plugin(assembled: Path) -> None:
    """Makes `unflatten` importable."""


def events(data: Path, script: Script) -> Iterator[Any]:
    """What becomes of an 8×4 picture where the bridge answers `decompose` with `script`, up to Done or Failed."""
    from unflatten.connection import JobConnection
    from unflatten.job import Done, Failed, JobRequest
    from unflatten.launch import Installation
    from unflatten.upload import Upload

    upload = Upload()
    upload.begin(b"")
    upload.add(ROWS)
    with answering(data, lambda socket, message: script(socket, message["job"])):
        connection = JobConnection(Installation("no-python", data), JobRequest(8, 4, strip=4), upload)
        connection.start()
        event: Any = None
        while not isinstance(event, (Done, Failed)):
            event = connection.events.get(timeout=30)
            yield event
        connection.join(30)


def failure(data: Path, script: Script) -> Any:
    from unflatten.job import Failed

    *_, last = events(data, script)
    assert isinstance(last, Failed) and last.message.endswith(".")
    return last


def stack(socket: ServerConnection, job: str) -> None:
    socket.send(protocol.encode("stack", job=job, layers=LAYERS))


def layer(socket: ServerConnection, job: str, index: Any = 0, rect: list[int] = LAYERS[0]["rect"]) -> None:
    socket.send(protocol.encode("layer", job=job, index=index, rect=rect, chunks=1))
    socket.send(ROWS)


def done(socket: ServerConnection, job: str) -> None:
    socket.send(protocol.encode("done", job=job, report={"layers": 1}))


def test_a_job_with_one_layer_is_done(tmp_path: Path) -> None:
    from unflatten.job import Done, LayerRows, Stacked

    def script(socket: ServerConnection, job: str) -> None:
        for step in (stack, layer, done):
            step(socket, job)

    happened = [event for event in events(tmp_path, script) if isinstance(event, (Done, LayerRows, Stacked))]
    assert [type(event) for event in happened] == [Stacked, LayerRows, Done]


def test_a_layer_before_its_stack_is_refused(tmp_path: Path) -> None:
    assert "not in the stack" in failure(tmp_path, layer).message


@pytest.mark.parametrize(
    ("index", "rect"), [(1, [0, 0, 8, 4]), (-1, [0, 0, 8, 4]), ("0", [0, 0, 8, 4]), (0, [1, 0, 8, 4])]
)
def test_a_layer_that_the_stack_does_not_name_is_refused(tmp_path: Path, index: Any, rect: list[int]) -> None:
    def script(socket: ServerConnection, job: str) -> None:
        stack(socket, job)
        layer(socket, job, index, rect)

    assert "not in the stack" in failure(tmp_path, script).message


def test_a_job_that_is_done_without_a_stack_has_failed(tmp_path: Path) -> None:
    assert "did not send all layers" in failure(tmp_path, done).message


def test_a_job_that_is_done_without_a_layer_of_its_stack_has_failed(tmp_path: Path) -> None:
    def script(socket: ServerConnection, job: str) -> None:
        stack(socket, job)
        done(socket, job)

    assert "did not send all layers" in failure(tmp_path, script).message


@pytest.mark.parametrize("kind", [{}, {"kind": "service"}])
def test_an_error_keeps_its_code_and_its_kind(tmp_path: Path, kind: dict[str, str]) -> None:
    told = {"code": "overtime", "message": "It took too long.", "hint": "Try again.", "retryable": True, **kind}

    def script(socket: ServerConnection, job: str) -> None:
        socket.send(protocol.encode("error", job=job, later="field", **told))

    last = failure(tmp_path, script)
    assert (last.code, last.message, last.hint) == ("overtime", "It took too long.", "Try again.")
    assert last.kind == kind.get("kind", "")


def test_every_setting_and_option_is_sent_unchanged() -> None:
    from unflatten.job import Choices, JobRequest

    choices = Choices(SETTINGS, {"workflow": "layers.json"}, "comfyui", batch=True)
    message = protocol.decode(JobRequest(8, 4, 4, choices=choices).message("0" * 32, 0), protocol.CLIENT_MESSAGES)
    assert message["settings"] == SETTINGS
    assert (message["options"], message["backend"], message["batch"]) == ({"workflow": "layers.json"}, "comfyui", True)


def test_choices_are_checked_by_the_bridge_before_any_picture(tmp_path: Path) -> None:
    from unflatten.connection import check
    from unflatten.errors import UnflattenError
    from unflatten.job import Choices
    from unflatten.launch import Installation

    def answer(socket: ServerConnection, message: dict[str, Any]) -> None:
        if message["settings"].get("num_inference_steps", 1) > 50:
            error = {"code": "bad_settings", "message": "Too many steps.", "hint": "", "retryable": False}
            socket.send(protocol.encode("error", **error))
        else:
            socket.send(protocol.encode("estimate", seconds=1.0, dollars=0.0))

    with answering(tmp_path, answer) as heard:
        check(Installation("no-python", tmp_path), Choices(SETTINGS, {"own": "1"}, "fast"))
        with pytest.raises(UnflattenError, match="Too many steps") as error:
            check(Installation("no-python", tmp_path), Choices({"num_inference_steps": 51}))
    assert error.value.code == "bad_settings"
    assert [message["type"] for message in heard] == ["hello", "estimate"] * 2
    assert (heard[1]["settings"], heard[1]["options"], heard[1]["backend"]) == (SETTINGS, {"own": "1"}, "fast")
