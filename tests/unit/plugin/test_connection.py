"""The plugin's end of the wire against the real bridge, without Krita."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.krita.bridges import Bridge, scripted_python

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bridge(assembled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real bridge, with jobs of a known length."""
    folder = tmp_path_factory.mktemp("bridge")
    bridge = Bridge(scripted_python(folder), folder / "data")
    bridge.data.mkdir()
    yield bridge
    bridge.end()


class Asking:
    """A picture on its way; its pixels in Krita's order."""

    def __init__(self, bridge: Any, width: int, height: int, clear: bool = False) -> None:
        from unflatten.connection import JobConnection
        from unflatten.job import JobRequest
        from unflatten.launch import Installation
        from unflatten.upload import Upload

        self.picture = np.random.default_rng(3).integers(0, 256, (height, width, 4), np.uint8)
        self.picture[..., 3] = 0 if clear else 255
        upload = Upload()
        upload.begin(b"")
        request = JobRequest(width=width, height=height, strip=100)
        self.connection = JobConnection(Installation(str(bridge.python), bridge.data), request, upload)
        self.connection.start()
        for top in range(0, height, 100):
            upload.add(self.picture[top : top + 100].tobytes())

    def events(self, seconds: float = 40) -> Iterator[Any]:
        """Up to Done or Failed."""
        from unflatten.job import Done, Failed

        end = time.monotonic() + seconds
        while True:
            event = self.connection.events.get(timeout=max(0.01, end - time.monotonic()))
            yield event
            if isinstance(event, (Done, Failed)):
                return

    def until(self, text: str) -> None:
        assert any(getattr(event, "stage", "") == text for event in self.events())


# A width whose rows do not fit evenly into the pieces that pixels come in.
@pytest.mark.parametrize(("width", "height"), [(300, 200), (2999, 1501)])
def test_layers_arrive_row_by_row_and_give_back_the_picture(bridge: Any, width: int, height: int) -> None:
    from unflatten.job import LayerRows, Stacked

    bridge.script(whole=1)
    asking = Asking(bridge, width, height)
    layers: dict[int, Any] = {}
    for event in asking.events():
        if isinstance(event, Stacked):
            assert event.opaque
            layers = {index: np.zeros_like(asking.picture) for index in range(len(event.layers))}
            assert next(layer.name for layer in event.layers) == "Background"
        elif isinstance(event, LayerRows):
            rows = np.frombuffer(event.buffer, np.uint8, event.size).reshape(event.height, event.width, 4)
            place = layers[event.index][event.top : event.top + event.height, event.left : event.left + event.width]
            place[...] = rows
            asking.connection.take_back(event)
    assert len(layers) == 3
    flat = layers[0].copy()
    for index in range(1, 3):
        over = layers[index][..., 3] == 255
        flat[over] = layers[index][over]
    assert (flat == asking.picture).all(), "the order of the channels, and of the rows"


def test_what_the_bridge_refuses_arrives_as_a_sentence(bridge: Any) -> None:
    from unflatten.job import Failed

    bridge.script()
    for asking in (Asking(bridge, 3, 3), Asking(bridge, 100, 80, clear=True)):
        *_, last = asking.events()
        assert isinstance(last, Failed)
        assert last.code == "bad_picture"
        assert last.message.endswith(".") and last.hint


def test_a_stopped_job_ends_in_the_bridge_too(bridge: Any) -> None:
    bridge.script(seconds=20)
    asking = Asking(bridge, 300, 200)
    asking.until("Following the script")
    asking.connection.stop()
    asking.connection.join(3)
    assert not asking.connection.is_alive()
    bridge.script()
    *_, last = Asking(bridge, 300, 200).events(10)
    assert last.report["layers"] == 3


def test_a_bridge_killed_in_the_middle_is_started_again_once(bridge: Any) -> None:
    from unflatten.job import Done, Failed

    bridge.script(seconds=3)
    asking = Asking(bridge, 300, 200)
    asking.until("Following the script")
    bridge.kill()
    bridge.script()
    *_, last = asking.events()
    assert isinstance(last, Done)

    bridge.script(seconds=20)
    asking = Asking(bridge, 300, 200)
    for _ in range(2):
        asking.until("Following the script")
        bridge.kill()
    *_, last = asking.events()
    assert isinstance(last, Failed) and "stopped" in last.message


def test_a_token_of_yesterday_is_refused_in_a_sentence(bridge: Any) -> None:
    from unflatten.wire import Refused, Wire

    bridge.script()
    *_, _ = Asking(bridge, 300, 200).events()
    with pytest.raises(Refused):
        Wire(bridge.connection().port, "0" * 64, lambda: False)


def test_a_stopped_connection_leaves_no_thread(bridge: Any) -> None:
    asking = Asking(bridge, 300, 200)
    asking.connection.stop()
    asking.connection.join(5)
    assert not asking.connection.is_alive()
    with pytest.raises(queue.Empty):
        while True:
            asking.connection.events.get_nowait()
