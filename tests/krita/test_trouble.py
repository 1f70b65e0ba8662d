"""What an artist may give it or do to it: a sentence each time, no half-made group, and the next picture works."""

import time
from pathlib import Path

import psutil
import pytest

from tests.krita.bridges import Bridge
from tests.krita.pictures import compare, noise, seen
from tests.krita.scripted_worker import ASKED
from tests.krita.window import Krita, wait_for

OUT = Path(__file__).parents[1] / "out"


def fill(krita: Krita, name: str, folder: Path, width: int = 320, height: int = 240) -> None:
    (folder / "pixels").write_bytes(noise(width, height).tobytes())
    krita.create_document(name=name, width=width, height=height)
    krita.fill(name=name, path=str(folder / "pixels"))


def wait_for_the_job(krita: Krita, count: int = 1) -> None:
    wait_for(lambda: str(krita.progress_windows()).count("Following the script") == count, 20, "the job to run")


def complaint(krita: Krita) -> str:
    """The text of the one message that waits to be read; it is then closed."""
    (window,) = krita.progress_windows()
    assert not window["modal"]
    assert krita.press(button="Close")
    assert krita.progress_windows() == []
    return " ".join(window["texts"])


def assert_untouched(krita: Krita, name: str) -> None:
    assert [layer["type"] for layer in krita.layers(name=name)] == ["paintlayer"]


def assert_the_next_one_works(krita: Krita, bridge: Bridge, folder: Path) -> None:
    bridge.script()
    fill(krita, "Next", folder)
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert krita.layers(name="Next")[-1]["name"] == "Unflattened Next"
    assert krita.progress_windows() == []


def test_no_document(krita: Krita, scripted: Bridge) -> None:
    assert not krita.action_state(action="unflatten_image")["enabled"]


def test_a_document_with_no_layer(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    krita.create_document(name="Empty", width=100, height=80)
    krita.remove_all_layers(name="Empty")
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert "transparent" in complaint(krita)
    assert krita.layers(name="Empty") == []
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_a_fully_transparent_document(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    (tmp_path / "pixels").write_bytes(bytes(100 * 80 * 4))
    krita.create_document(name="Clear", width=100, height=80)
    krita.fill(name="Clear", path=str(tmp_path / "pixels"))
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert "transparent" in complaint(krita)
    assert_untouched(krita, "Clear")


def test_a_single_pixel(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    fill(krita, "Dot", tmp_path, 1, 1)
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert "too small" in complaint(krita)
    assert_untouched(krita, "Dot")


def test_a_very_wide_strip(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    fill(krita, "Strip", tmp_path, 30_000, 20)
    before = seen(krita, "Strip", tmp_path)
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert krita.layers(name="Strip")[-1]["name"] == "Unflattened Strip"
    assert compare(before, seen(krita, "Strip", tmp_path))[0] <= 1


def test_a_document_without_colours_is_refused_in_words(krita: Krita, scripted: Bridge) -> None:
    krita.create_document(name="Mask", width=100, height=80, model="A", depth="U8")
    krita.trigger(action="unflatten_image")
    assert krita.running() == []
    krita.screenshot(path=OUT / "krita-refused.png")
    text = complaint(krita)
    assert "colour model" in text and "Convert a copy" in text
    assert_untouched(krita, "Mask")


def test_a_document_with_another_rgb_profile_is_taken_as_it_is(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    profile = next(each for each in krita.profiles() if "ClayRGB" in each or "Adobe" in each)
    (tmp_path / "pixels").write_bytes(noise(200, 100).tobytes())
    krita.create_document(name="Wide", width=200, height=100, profile=profile)
    krita.fill(name="Wide", path=str(tmp_path / "pixels"))
    before = seen(krita, "Wide", tmp_path)
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert krita.layers(name="Wide")[-1]["name"] == "Unflattened Wide"
    assert compare(before, seen(krita, "Wide", tmp_path))[0] <= 1


def test_cancelled_by_button_and_by_action(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=20)
    fill(krita, "Cancelled", tmp_path)
    before = seen(krita, "Cancelled", tmp_path)
    for stop in (lambda: krita.press(button="Cancel"), lambda: krita.trigger(action="unflatten_cancel")):
        krita.trigger(action="unflatten_image")
        wait_for_the_job(krita)
        stop()
        krita.wait_until_idle(5)
        assert_untouched(krita, "Cancelled")
        assert krita.progress_windows() == []
    assert compare(before, seen(krita, "Cancelled", tmp_path)) == (0, 1.0)
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_closed_while_it_runs(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=20)
    fill(krita, "Stays", tmp_path)
    fill(krita, "Closed", tmp_path)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    krita.close_document(name="Closed")
    krita.wait_until_idle(5)
    assert krita.progress_windows() == []
    assert_untouched(krita, "Stays")
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_resized_while_it_runs(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=20)
    fill(krita, "Resized", tmp_path)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    krita.resize(name="Resized", width=200, height=150)
    krita.wait_until_idle(5)
    assert "resized" in complaint(krita)
    assert_untouched(krita, "Resized")
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_switched_while_it_runs(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=1.5)
    fill(krita, "Other", tmp_path)
    fill(krita, "Started", tmp_path)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    krita.activate(name="Other")
    krita.wait_until_idle()
    assert_untouched(krita, "Other")
    assert krita.layers(name="Started")[-1]["name"] == "Unflattened Started"


def test_two_documents_at_once_and_the_same_one_twice(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=1.5)
    fill(krita, "First", tmp_path)
    krita.trigger(action="unflatten_image")
    krita.trigger(action="unflatten_image")
    assert krita.running() == ["First"]
    fill(krita, "Second", tmp_path, 200, 300)
    krita.trigger(action="unflatten_image")
    assert krita.running() == ["First", "Second"]
    krita.wait_until_idle()
    for name in ("First", "Second"):
        assert [layer["name"] for layer in krita.layers(name=name)][1:] == [f"Unflattened {name}"]


def test_nothing_of_a_session_waits_for_the_collector(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    """It may run in any thread, and what it would free there are wrappers of Krita's objects."""
    fill(krita, "Gone", tmp_path)
    krita.collect_garbage(automatically=False)
    try:
        for seconds, stopped in ((0, False), (20, True)):
            scripted.script(seconds=seconds)
            krita.trigger(action="unflatten_image")
            assert krita.living(kind="Session") == 1
            if stopped:
                wait_for_the_job(krita)
                krita.trigger(action="unflatten_cancel")
            krita.wait_until_idle()
            for kind in ("Session", "Running", "Scratch", "Canvas"):
                assert krita.living(kind=kind) == 0, kind
    finally:
        krita.collect_garbage(automatically=True)


def test_cancelled_while_the_layers_fill(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    """Nothing is in the document yet, so there is nothing to take back, and nothing for a redo to bring back."""
    scripted.script(objects=4, whole=1)
    fill(krita, "Half", tmp_path, 1500, 1500)
    before = seen(krita, "Half", tmp_path)
    krita.trigger_while_layers_fill(action="unflatten_cancel")
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert_untouched(krita, "Half")
    krita.trigger(action="edit_redo")
    time.sleep(0.5)  # for Krita to do what it must not
    assert_untouched(krita, "Half")
    assert compare(before, seen(krita, "Half", tmp_path)) == (0, 1.0)
    assert krita.progress_windows() == []
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_the_artists_own_undo_while_the_layers_fill(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(objects=4, whole=1)
    fill(krita, "Busy", tmp_path, 1500, 1500)
    (tmp_path / "more").write_bytes(bytes(1500 * 1500 * 4))
    krita.add_layers(name="Busy", paths=[str(tmp_path / "more")])
    krita.trigger_while_layers_fill(action="edit_undo")
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    assert [layer["name"] for layer in krita.layers(name="Busy")][1:] == ["Unflattened Busy"]


def test_undone_by_the_artist_the_moment_it_arrives(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    fill(krita, "Undone", tmp_path)
    krita.undo_when_the_group_arrives(name="Undone")
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle()
    # Krita carries an undo out when its own work lets it: the job may be over first.
    wait_for(lambda: len(krita.layers(name="Undone")) == 1, 20, "the undo")
    assert_untouched(krita, "Undone")
    assert krita.progress_windows() == []


def test_the_bridge_killed_while_a_job_runs_is_started_again(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=3)
    fill(krita, "Survivor", tmp_path)
    before = seen(krita, "Survivor", tmp_path)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    first = scripted.connection()
    scripted.kill()
    scripted.script(seconds=0.5)
    krita.wait_until_idle(60)
    second = scripted.connection()
    assert first is not None and second is not None and first.pid != second.pid
    assert krita.progress_windows() == []
    assert krita.layers(name="Survivor")[-1]["name"] == "Unflattened Survivor"
    assert compare(before, seen(krita, "Survivor", tmp_path))[0] <= 1


def test_the_bridge_killed_again_and_again_is_told_in_a_sentence(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    scripted.script(seconds=20)
    fill(krita, "Unlucky", tmp_path)
    krita.trigger(action="unflatten_image")
    for last in (False, True):
        wait_for_the_job(krita)
        first = scripted.connection()
        scripted.kill()
        if not last:
            wait_for(lambda before=first: scripted.connection() != before, 20, "a new bridge")
    krita.wait_until_idle(30)
    assert "The bridge stopped" in complaint(krita)
    assert_untouched(krita, "Unlucky")
    assert_the_next_one_works(krita, scripted, tmp_path)


def kill_workers(bridge: Bridge) -> None:
    workers = bridge.processes()[1:]
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=10)


def test_the_worker_killed_while_a_job_runs_costs_a_second_run(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=3)
    fill(krita, "Second run", tmp_path)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    scripted.script(seconds=0.5)
    kill_workers(scripted)
    krita.wait_until_idle(30)
    assert krita.progress_windows() == []
    assert krita.layers(name="Second run")[-1]["name"] == "Unflattened Second run"


def test_the_worker_killed_again_is_told_without_a_guess(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=20)
    fill(krita, "Workless", tmp_path)
    krita.trigger(action="unflatten_image")
    (scripted.data / ASKED).unlink(missing_ok=True)
    for _ in range(2):
        wait_for((scripted.data / ASKED).exists, 20, "the job to run")
        (scripted.data / ASKED).unlink()
        kill_workers(scripted)
    krita.wait_until_idle(20)
    text = complaint(krita)
    assert "by the system or by another program" in text and "ran out of memory" not in text
    assert_untouched(krita, "Workless")
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_a_bridge_that_is_stopped_is_told_in_a_true_sentence(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    assert_the_next_one_works(krita, scripted, tmp_path)
    bridge = scripted.processes()[0]
    fill(krita, "Stopped", tmp_path)
    bridge.suspend()
    try:
        krita.trigger(action="unflatten_image")
        krita.wait_until_idle(15)
        text = complaint(krita)
        assert "does not answer" in text and str(bridge.pid) in text
    finally:
        bridge.resume()
    assert_untouched(krita, "Stopped")
    krita.close_document(name="Next")
    assert_the_next_one_works(krita, scripted, tmp_path)


def test_a_bridge_that_cannot_start_is_told_in_a_sentence(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    krita.use(tmp_path / "no-such-python", tmp_path / "data")
    fill(krita, "Bridgeless", tmp_path)
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle(10)
    assert "install.py" in complaint(krita)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'No module named bridge' >&2\nexit 3\n")
    broken.chmod(0o755)
    krita.use(broken, tmp_path / "data")
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle(10)
    krita.screenshot(path=OUT / "krita-no-bridge.png")
    text = complaint(krita)
    assert "could not start" in text and "No module named bridge" in text
    assert_untouched(krita, "Bridgeless")


def test_a_second_krita_shares_the_bridge(
    krita: Krita, scripted: Bridge, plugin: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    second = Krita(krita.screen, tmp_path_factory.mktemp("second"), plugin)
    try:
        second.use(scripted.python, scripted.data)
        scripted.script(seconds=1)
        for number, each in enumerate((krita, second)):
            (tmp_path / str(number)).mkdir()
            fill(each, "Shared", tmp_path / str(number))
            each.trigger(action="unflatten_image")
        for each in (krita, second):
            each.wait_until_idle()
            assert each.layers(name="Shared")[-1]["name"] == "Unflattened Shared"
        servers = [each for each in psutil.process_iter(["cmdline"]) if runs_for(each, scripted)]
        assert len(servers) == 1
    finally:
        second.close()


def runs_for(process: psutil.Process, bridge: Bridge) -> bool:
    if "scripted_bridge" not in " ".join(process.info["cmdline"] or []):
        return False
    try:
        return process.environ().get("UNFLATTEN_HOME") == str(bridge.data)
    except psutil.Error:
        return False
