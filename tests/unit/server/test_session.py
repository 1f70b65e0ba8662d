"""A client's conversation with a running bridge, as protocol.py describes it."""

import sqlite3
import time

import imagecodecs
import numpy as np
import pytest

from bridge import protocol
from bridge.settings import Settings
from tests.unit.trial.client import Message, Result, new_job, noise
from tests.unit.trial.running import Bridge, Starter, wait_for


def flattened(result: Result, width: int, height: int) -> np.ndarray:
    """Bands that do not overlap, over a background: what lies on top shows."""
    canvas = np.zeros((height, width, 4), np.uint8)
    for index, outline in enumerate(result.last("stack")["layers"]):
        left, top, layer_width, layer_height = outline["rect"]
        place = canvas[top : top + layer_height, left : left + layer_width]
        shows = result.layers[index][..., 3:] == 255
        np.copyto(place, result.layers[index], where=shows)
    return canvas


def test_a_picture_comes_back_as_exact_layers(shared_bridge: Bridge) -> None:
    picture = noise(1200, 1900)  # two frames up
    with shared_bridge.client() as client:
        job = client.start(picture, settings={"num_layers": 4, "seed": 11})
        result = client.finish(job)
    kinds = result.kinds()
    assert kinds[0] == "accepted" and result.messages[0]["position"] == 0
    assert kinds.index("stack") < kinds.index("layer")
    assert sorted(each["index"] for each in result.messages if each["type"] == "layer") == [0, 1, 2, 3]
    stack = result.last("stack")
    for message in result.messages:
        if message["type"] == "layer":
            outline = stack["layers"][message["index"]]
            assert outline["rect"] == message["rect"]
            assert message["chunks"] == protocol.chunk_count(message["rect"][2] * message["rect"][3] * 4)
    assert np.array_equal(flattened(result, 1200, 1900), picture)
    report = result.last("done")["report"]
    assert report["seed"] == 11 and report["max_error"] == 0 and report["layers"] == 4


def test_progress_tells_the_stage_and_the_seconds_left(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        result = client.split(noise(64, 64), prompt="slow 0.3")
    told = [each for each in result.messages if each["type"] == "progress"]
    assert (told[0]["stage"], told[0]["step"], told[0]["steps"]) == ("Beginning", 1, 2)
    assert 0 < told[0]["seconds_left"] <= 20
    assert told[-1]["stage"] == "Making the layers exact"


def test_the_seed_is_drawn_where_none_is_set(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        seeds = {client.split(noise(64, 64)).last("done")["report"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


# What is refused


@pytest.mark.parametrize(
    ("hello", "older"),
    [
        ({"protocol": 0}, "plugin"),
        ({"protocol": 99}, "bridge"),
    ],
)
def test_another_protocol_is_told_in_words(shared_bridge: Bridge, hello: Message, older: str) -> None:
    with shared_bridge.client(hello=hello) as client:
        assert client.greeting["type"] == "error" and client.greeting["code"] == "protocol_version"
        assert client.greeting["message"].startswith(f"The {older} is of an older Unflatten")
        with pytest.raises(Exception, match="1002"):
            client.hear()


def test_hello_comes_first(shared_bridge: Bridge) -> None:
    with shared_bridge.client(spoken=False) as client:
        client.say("backends")
        assert client.hear()["code"] == "protocol"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": 7}', '{"type": "dance"}', '{"type": "decompose"}', "\0"])
def test_a_frame_that_means_nothing_is_told_and_forgiven(shared_bridge: Bridge, text: str) -> None:
    with shared_bridge.client() as client:
        client.socket.send(text)
        assert client.hear()["code"] == "protocol"
        client.socket.send(b"pixels of nothing")
        assert client.hear()["code"] == "protocol"
        assert client.split(noise(32, 32)).kinds()[-1] == "done"


def test_layers_come_in_the_pictures_own_order_of_channels(shared_bridge: Bridge) -> None:
    picture = noise(40, 30)
    turned = np.ascontiguousarray(picture[..., [2, 1, 0, 3]])
    with shared_bridge.client() as client:
        plain = client.split(picture, settings={"seed": 3})
        result = client.split(turned, settings={"seed": 3}, about={"channels": "BGRA"})
        assert len(plain.layers) > 1 and result.layers.keys() == plain.layers.keys()
        for index, layer in plain.layers.items():
            assert (result.layers[index][..., [2, 1, 0, 3]] == layer).all()
        client.ask(new_job(), 40, 30, about={"channels": "ABGR"})
        assert client.hear()["code"] == "protocol"


def test_unknown_fields_are_ignored(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        result = client.split(noise(32, 32), mood="fine", settings={"sparkle": 7}, about={"era": "baroque"})
    assert result.kinds()[-1] == "done"


@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.float32])
def test_deep_documents_are_given_back_in_their_own_depth(shared_bridge: Bridge, dtype: type) -> None:
    view = noise(60, 40)
    full = 65535 if dtype is np.uint16 else 1
    deep = (view / 255.0 * full).astype(dtype)
    depth = {"uint16": "U16", "float16": "F16", "float32": "F32"}[np.dtype(dtype).name]
    with shared_bridge.client() as client:
        result = client.split(deep, view, imagecodecs.cms_profile("srgb"), about={"model": "RGBA", "depth": depth})
    assert result.kinds()[-1] == "done"
    assert len(result.layers) > 1
    assert all(layer.dtype == dtype for layer in result.layers.values())
    report = result.last("done")["report"]
    assert report["levels"] == full
    assert report["max_error"] == 0
    flat = np.zeros_like(deep)
    for outline, index in zip(result.last("stack")["layers"], sorted(result.layers), strict=True):
        left, top, width, height = outline["rect"]
        layer, area = result.layers[index], flat[top : top + height, left : left + width]
        area[layer[..., 3] == full] = layer[layer[..., 3] == full]
    assert np.array_equal(flat, deep)


def test_a_16_bit_document_may_come_in_kritas_order_of_channels(shared_bridge: Bridge) -> None:
    view = noise(60, 40)
    deep = np.ascontiguousarray(view[..., [2, 1, 0, 3]].astype(np.uint16) * 257)
    with shared_bridge.client() as client:
        about = {"model": "RGBA", "depth": "U16", "channels": "BGRA"}
        result = client.split(deep, view, imagecodecs.cms_profile("srgb"), about=about)
    first = result.last("stack")["layers"][1]["rect"]
    left, top, width, height = first
    assert np.array_equal(result.layers[1], deep[top : top + height, left : left + width])


@pytest.mark.parametrize(
    ("about", "code", "words"),
    [
        ({"model": "?", "depth": "?"}, "bad_picture", "colour model"),
        ({"model": "A", "depth": "U8"}, "bad_picture", "colour model"),
        ({"model": "RGBA", "depth": "U16", "chunks": 1}, "protocol", "view"),
        ({"model": "CMYKA", "depth": "U8", "chunks": 1}, "protocol", "view"),
        ({"model": "GRAYA", "depth": "F32", "channels": "BGRA"}, "protocol", "order of channels"),
        ({"profile_bytes": 2**40}, "protocol", "profile"),
        ({"profile_bytes": 100}, "protocol", "view"),
        ({"model": "CMYKA", "depth": "F32", "width": 60_000, "height": 2000}, "bad_picture", "too large"),
    ],
)
def test_a_picture_that_does_not_hold_together_is_refused(
    shared_bridge: Bridge, about: dict[str, object], code: str, words: str
) -> None:
    with shared_bridge.client() as client:
        client.ask(new_job(), 64, 64, about=about)
        error = client.hear()
        assert (error["type"], error["code"]) == ("error", code)
        assert words in error["message"]
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_profile_that_is_none_is_told_and_the_next_picture_is_taken(shared_bridge: Bridge) -> None:
    view = noise(64, 64)
    with shared_bridge.client() as client:
        about = {"model": "RGBA", "depth": "U16"}
        error = client.split(view.astype(np.uint16) * 257, view, b"no profile at all", about=about).last("error")
        assert error["code"] == "profile"
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_setting_out_of_range_is_refused_by_name(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        error = client.split(noise(64, 64), settings={"num_inference_steps": 51}).last("error")
        assert error["code"] == "bad_settings" and "num_inference_steps" in error["message"]


def test_an_unknown_backend_is_refused(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        error = client.split(noise(64, 64), backend="oracle").last("error")
    assert error["code"] == "backend_unavailable" and "trial" in error["hint"]


def test_a_fully_transparent_picture_is_refused(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        error = client.split(np.zeros((64, 64, 4), np.uint8)).last("error")
    assert error["code"] == "bad_picture" and "transparent" in error["message"]


def test_a_job_number_is_used_once(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        job = client.start(noise(64, 64))
        client.finish(job)
        assert client.split(noise(64, 64), job=job).kinds() == ["error"]
        client.say("attach", job=job)
        assert client.finish(job).kinds()[-1] == "done"


# Questions


def test_backends_and_estimates_are_answered_while_a_job_runs(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as busy, shared_bridge.client() as client:
        job = busy.start(noise(64, 64), prompt="slow 4")
        assert busy.hear()["type"] == "accepted"
        client.say("backends")
        backends = {each["name"]: each for each in client.hear()["backends"]}
        assert backends["trial"]["title"] == "Trial" and next(iter(backends)) == "builtin"
        client.say("estimate", backend="trial", width=800, height=600)
        answer = client.hear()
        assert answer["type"] == "estimate" and answer["seconds"] > 0 and answer["dollars"] == 0
        client.say("estimate", backend="trial", width=1, height=1)
        assert client.hear()["code"] == "bad_picture"
        assert "done" not in busy.finish(job).kinds()[:-1]


# Turns


def test_interactive_goes_before_batch_and_clients_take_turns(bridge: Bridge) -> None:
    clients = [bridge.client() for _ in range(6)]
    first = clients[0].start(noise(32, 32), prompt="slow 3")
    assert clients[0].hear()["type"] == "accepted"
    batch = clients[1].start(noise(32, 32), batch=True)
    assert clients[1].hear()["position"] == 1
    later = clients[2].start(noise(32, 32))
    assert clients[2].hear()["position"] == 1, "goes before the batch job"
    told = [message for message, _ in clients[1].follow(batch)]
    stages = [each["stage"] for each in told if each["type"] == "progress"]
    assert stages[0] == "Waiting for 1 other picture" and told[-1]["type"] == "done"
    assert [clients[0].finish(first).kinds()[-1], clients[2].finish(later).kinds()[-1]] == ["done", "done"]
    with sqlite3.connect(f"file:{bridge.data}/journal.sqlite?mode=ro", uri=True) as journal:
        ended = [row[0] for row in journal.execute("SELECT id FROM jobs ORDER BY ended")]
    assert ended == [first, later, batch]
    for client in clients:
        client.socket.close()


def test_one_clients_many_do_not_keep_anothers_one_waiting(bridge: Bridge) -> None:
    with bridge.client() as greedy, bridge.client() as modest:
        many = [greedy.start(noise(32, 32, seed), prompt="slow 0.5") for seed in range(4)]
        wait_for(lambda: (bridge.data / "jobs" / many[3] / "picture.raw").exists())
        one = modest.start(noise(32, 32))
        assert modest.finish(one).kinds()[-1] == "done"
    with sqlite3.connect(f"file:{bridge.data}/journal.sqlite?mode=ro", uri=True) as journal:
        ended = [row[0] for row in journal.execute("SELECT id FROM jobs WHERE ended NOT NULL ORDER BY ended")]
    assert one in ended and many[2] not in ended[: ended.index(one)]


# Cancelling


def test_a_running_job_is_cancelled_at_its_next_step(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        job = client.start(noise(64, 64), prompt="slow 60")
        began = wait_for(lambda: client.hear()["type"] == "progress") and time.monotonic()
        client.say("cancel", job=job)
        assert client.finish(job).last("error")["code"] == "cancelled"
        assert time.monotonic() - began < 2
        assert not (shared_bridge.data / "jobs" / job).exists()
        client.say("attach", job=job)
        assert client.finish(job).last("error")["code"] == "cancelled"


def test_a_worker_that_does_not_heed_a_cancel_is_replaced(bridge: Bridge) -> None:
    with bridge.client() as client:
        job = client.start(noise(64, 64), prompt="deaf 60")
        wait_for(lambda: client.hear()["type"] == "progress")
        [deaf] = bridge.children()
        time.sleep(1)  # past the look-up after its first step, and deaf from here on
        client.say("cancel", job=job)
        assert client.finish(job).last("error")["code"] == "cancelled"
        deaf.wait(5)
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_waiting_job_is_cancelled_at_once(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        running = client.start(noise(64, 64), prompt="slow 2")
        waiting = client.start(noise(64, 64))
        client.say("cancel", job=waiting)
        assert client.finish(waiting).last("error")["code"] == "cancelled"
        assert client.finish(running).kinds()[-1] == "done"


def test_a_picture_on_its_way_can_be_cancelled(shared_bridge: Bridge) -> None:
    picture = noise(1200, 1900)
    with shared_bridge.client() as client:
        job = new_job()
        client.ask(job, 1200, 1900)
        client.socket.send(picture.data.cast("B")[: protocol.CHUNK])
        client.say("cancel", job=job)
        client.socket.send(picture.data.cast("B")[protocol.CHUNK :])  # was on its way already
        assert client.finish(job).last("error")["code"] == "cancelled"
        assert client.split(noise(64, 64)).kinds()[-1] == "done"
        assert not (shared_bridge.data / "jobs" / job).exists()


# Leaving and coming back


def test_a_client_that_leaves_while_sending_leaves_nothing(bridge: Bridge) -> None:
    client = bridge.client()
    job = new_job()
    client.ask(job, 1200, 1900)
    client.socket.send(bytes(protocol.CHUNK))
    wait_for(lambda: list((bridge.data / "jobs" / job).glob("*.part")))
    client.socket.socket.close()  # as a killed Krita does: no goodbye
    wait_for(lambda: not list((bridge.data / "jobs").iterdir()))
    with bridge.client() as other:
        other.say("attach", job=job)
        assert other.hear()["code"] == "unknown_job"
        assert other.split(noise(64, 64)).kinds()[-1] == "done"


def test_a_job_goes_on_while_its_client_is_away(shared_bridge: Bridge) -> None:
    picture = noise(64, 64)
    with shared_bridge.client() as client:
        job = client.start(picture, prompt="slow 1")
        assert client.hear()["type"] == "accepted"
        client.socket.socket.close()
    time.sleep(0.3)
    with shared_bridge.client() as client:
        client.say("attach", job=job)
        result = client.finish(job)
        assert result.kinds()[-1] == "done" and np.array_equal(flattened(result, 64, 64), picture)


def test_attach_brings_only_what_is_lacking(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        job = client.start(noise(64, 64))
        client.finish(job)
    with shared_bridge.client() as client:
        client.say("attach", job=job, have=[0, 2])
        result = client.finish(job)
        assert sorted(result.layers) == [1, 3, 4] and result.kinds()[0] == "stack"


def test_a_job_that_nobody_comes_back_for_makes_room(start: Starter) -> None:
    bridge = start(grace=1)
    client = bridge.client()
    job = client.start(noise(64, 64), prompt="slow 3600")
    wait_for(lambda: client.hear()["type"] == "progress")
    client.socket.socket.close()
    with bridge.client() as other:
        began = time.monotonic()
        assert other.split(noise(64, 64)).kinds()[-1] == "done"
        assert time.monotonic() - began < 15
        other.say("attach", job=job)
        error = other.finish(job).last("error")
        assert error["code"] == "cancelled" and "nobody" in error["message"]


def test_two_clients_may_follow_one_job(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as one, shared_bridge.client() as two:
        job = one.start(noise(64, 64), prompt="slow 1")
        assert one.hear()["type"] == "accepted"
        two.say("attach", job=job)
        first, second = one.finish(job), two.finish(job)
    assert sorted(first.layers) == sorted(second.layers) == [0, 1, 2, 3, 4]


def test_a_client_that_does_not_read_holds_up_nobody(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as stuck, shared_bridge.client() as client:
        job = stuck.start(noise(2000, 2000))
        for seed in range(3):
            assert client.split(noise(400, 400, seed)).kinds()[-1] == "done"
        assert stuck.finish(job).kinds()[-1] == "done"


# Life of the worker and of results


def test_the_worker_stays_warm_then_rests(start: Starter) -> None:
    bridge = start(worker_idle=1.5)
    assert bridge.children() == []
    with bridge.client() as client:
        client.split(noise(64, 64))
        [worker] = bridge.children()
        client.split(noise(64, 64))
        assert bridge.children() == [worker]
        wait_for(lambda: bridge.children() == [], 6)
        assert client.split(noise(64, 64)).kinds()[-1] == "done"


def test_results_are_erased_after_their_days(start: Starter) -> None:
    bridge = start()
    with bridge.client() as client:
        job = client.start(noise(64, 64))
        client.finish(job)
    assert not (bridge.data / "jobs" / job / "picture.raw").exists(), "the picture is of no more use"
    bridge.stop()
    kept = start(keep_days=1)
    assert list((kept.data / "jobs" / job).glob("layer-*.raw"))
    kept.stop()
    with sqlite3.connect(kept.data / "journal.sqlite") as journal:
        journal.execute("UPDATE jobs SET ended = ended - 86400 * 1.1")
    journal.close()
    swept = start(keep_days=1)
    wait_for(lambda: not (swept.data / "jobs" / job).exists())
    with swept.client() as client:
        client.say("attach", job=job)
        assert client.hear()["code"] == "unknown_job"


def test_settings_left_out_are_the_defaults(shared_bridge: Bridge) -> None:
    with shared_bridge.client() as client:
        job = new_job()
        picture = {"width": 64, "height": 64, "chunks": 1}
        client.say("decompose", job=job, backend="trial", picture=picture)
        client.send_pixels(noise(64, 64))
        assert client.finish(job).kinds()[-1] == "done"
    with sqlite3.connect(f"file:{shared_bridge.data}/journal.sqlite?mode=ro", uri=True) as journal:
        (written,) = journal.execute("SELECT settings FROM jobs WHERE id = ?", (job,)).fetchone()
    assert Settings.model_validate_json(written) == Settings()
