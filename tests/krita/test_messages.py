"""What the plugin says and offers: where, in words that can be read, and in no window of Krita's that may go."""

import time
from pathlib import Path

from tests.krita.bridges import Bridge
from tests.krita.pictures import noise
from tests.krita.window import Krita, wait_for

OUT = Path(__file__).parents[1] / "out"


def fill(krita: Krita, name: str, folder: Path) -> None:
    (folder / "pixels").write_bytes(noise(320, 240).tobytes())
    krita.create_document(name=name, width=320, height=240)
    krita.fill(name=name, path=str(folder / "pixels"))


def wait_for_the_job(krita: Krita) -> None:
    wait_for(lambda: "Following the script" in str(krita.progress_windows()), 20, "the job to run")


def overlap(one: list[int], other: list[int]) -> bool:
    return all(one[at] < other[at] + other[at + 2] and other[at] < one[at] + one[at + 2] for at in (0, 1))


def test_a_job_outlives_the_window_that_it_was_started_in(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=4)
    fill(krita, "Shown twice", tmp_path)
    assert krita.open_window() == 2
    wait_for(lambda: krita.views_in_front() == 0, 20, "the second window to be in front")
    krita.show(name="Shown twice")
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    krita.close_window()
    wait_for(lambda: krita.views_in_front() >= 1, 20, "the first window to be in front")
    time.sleep(0.5)  # for Qt to delete what belonged to it
    assert krita.running() == ["Shown twice"]
    krita.trigger(action="unflatten_image")
    (window,) = krita.progress_windows()
    assert any("already being taken apart" in text for text in window["texts"]), "in its window, over no bar"
    krita.wait_until_idle()
    assert krita.layers(name="Shown twice")[-1]["name"] == "Unflattened Shown twice"


def test_errors_of_one_document_are_one_window_and_those_of_several_cover_none(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    krita.use(tmp_path / "no-such-python", tmp_path / "data")
    for name in ("One", "Two", "Three"):
        fill(krita, name, tmp_path)
        for _ in range(2):
            krita.trigger(action="unflatten_image")
            krita.wait_until_idle(10)
    assert sorted(window["title"] for window in krita.progress_windows()) == [
        "Unflatten – One",
        "Unflatten – Three",
        "Unflatten – Two",
    ]
    krita.screenshot(OUT / "krita-three-errors.png")
    places = krita.places_of_windows()
    assert not any(overlap(one, other) for one in places for other in places if one is not other), places


def test_windows_of_jobs_cover_one_another_nowhere(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    scripted.script(seconds=2)
    for name in ("First", "Second"):
        fill(krita, name, tmp_path)
        krita.trigger(action="unflatten_image")
    one, other = krita.places_of_windows()
    assert not overlap(one, other)
    krita.wait_until_idle()


def test_a_job_that_ends_behind_another_document_says_so_with_its_name(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    fill(krita, "In front", tmp_path)
    fill(krita, "Behind", tmp_path)
    scripted.script(seconds=1.5)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    krita.activate(name="In front")
    krita.keep_messages()
    krita.wait_until_idle()
    time.sleep(0.5)  # for Krita to paint it
    krita.screenshot(OUT / "krita-behind.png")
    ((document, text),) = krita.messages()
    assert document == "In front"
    assert text.startswith("“Behind”: Taken apart into")


def test_names_are_text_and_text_can_be_selected(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    name = "<h1>Loud</h1>"
    fill(krita, name, tmp_path)
    scripted.script(seconds=20)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    krita.resize(name=name, width=200, height=150)
    krita.wait_until_idle(5)
    (window,) = krita.progress_windows()
    assert name in window["texts"][0]
    krita.screenshot(OUT / "krita-plain-text.png")
    assert krita.text_formats() == {"plain": True, "selectable": True}


def test_commands_are_told_as_they_run_on_this_computer(krita: Krita, scripted: Bridge, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    broken = tmp_path / "a folder" / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    krita.use(broken, tmp_path / "data")
    fill(krita, "Where", tmp_path)
    krita.trigger(action="unflatten_image")
    krita.wait_until_idle(10)
    (window,) = krita.progress_windows()
    assert f"“'{broken}' -m bridge.cli doctor”" in " ".join(window["texts"])


def test_cancel_can_be_chosen_only_while_there_is_something_to_cancel(
    krita: Krita, scripted: Bridge, tmp_path: Path
) -> None:
    assert not krita.action_state(action="unflatten_cancel")["enabled"]
    fill(krita, "Short", tmp_path)
    fill(krita, "Other", tmp_path)
    krita.activate(name="Short")
    time.sleep(0.3)
    assert not krita.action_state(action="unflatten_cancel")["enabled"]
    scripted.script(seconds=20)
    krita.trigger(action="unflatten_image")
    wait_for_the_job(krita)
    assert krita.action_state(action="unflatten_cancel")["enabled"]
    krita.activate(name="Other")
    time.sleep(0.3)
    assert krita.action_state(action="unflatten_cancel")["enabled"]
    krita.trigger(action="unflatten_cancel")
    krita.wait_until_idle(5)
    assert not krita.action_state(action="unflatten_cancel")["enabled"]


def test_the_menu_has_its_entries_apart_and_with_icons(krita: Krita, scripted: Bridge) -> None:
    *_, before, first, second, third = krita.menu_entries(action="unflatten_image")
    assert (before, first, second, third) == ("", "unflatten_image", "unflatten_cancel", "unflatten_keep_original")
    assert krita.action_state(action="unflatten_image")["icon"]
    assert krita.action_state(action="unflatten_cancel")["icon"]


def test_what_is_set_stays_set(krita: Krita, scripted: Bridge) -> None:
    assert not krita.action_state(action="unflatten_keep_original")["checked"]
    krita.trigger(action="unflatten_keep_original")
    try:
        assert krita.setting(group="unflatten", name="keepOriginalVisible") == "true"
    finally:
        krita.trigger(action="unflatten_keep_original")
