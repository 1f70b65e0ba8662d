"""A picture's whole way through the model: words, layers, names, auto, memory, staying loaded."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from bridge.backends.base import DraftLayer, JobContext, Preview, Progress
from bridge.backends.diffusers import captions, frames, loading
from bridge.backends.diffusers import model as module
from bridge.backends.diffusers import residence as living
from bridge.backends.diffusers.model import LayeredModel
from bridge.backends.diffusers.options import Options
from bridge.backends.diffusers.plan import GB, Machine
from bridge.backends.diffusers.residence import Residence
from bridge.errors import BackendUnavailable, Cancelled, UnflattenError
from bridge.picture import Picture
from bridge.settings import Settings
from tests.gpu import running

Kept = list[Progress | Preview | DraftLayer]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's own size is large for a processor: a small one in its place."""
    fit = module.fit_to_model
    monkeypatch.setattr(module, "fit_to_model", lambda view, _: fit(view, 160))


@pytest.fixture
def picture() -> Picture:
    pixels = np.random.default_rng(5).integers(0, 256, (150, 200, 4), np.uint8)
    pixels[..., 3] = 255
    return Picture(pixels)


@pytest.fixture
def layered(model: Path) -> Iterator[LayeredModel]:
    residence = Residence(running.files(model), Options(), "cpu")
    yield LayeredModel(residence)
    residence.close()


def draft(layered: LayeredModel, picture: Picture, job: JobContext | None = None, **settings: Any) -> Kept:
    asked = {"num_inference_steps": 2, "num_layers": 2, "prompt": "x", "acceleration": "none", **settings}
    return list(layered.draft(picture, Settings(**asked), job or JobContext(1)))


def layers_of(kept: Kept) -> list[DraftLayer]:
    return [each for each in kept if isinstance(each, DraftLayer)]


def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each loading of a model from now on, by its plan's name."""
    counted: list[str] = []
    load = loading.load

    def counting(files: Any, plan: Any, accelerator: str) -> Any:
        counted.append(plan.name)
        return load(files, plan, accelerator)

    monkeypatch.setattr(loading, "load", counting)
    return counted


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_as_many_layers_as_asked_for(layered: LayeredModel, picture: Picture, number: int) -> None:
    found = layers_of(draft(layered, picture, num_layers=number, num_inference_steps=1))
    assert len(found) == number
    assert {each.layer.pixels.shape for each in found} == {(found[0].height, found[0].width, 4)}


def test_two_pictures_load_it_once(layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = loads(monkeypatch)
    draft(layered, picture)
    draft(layered, picture, num_layers=1)
    assert len(counted) == 1


def test_a_caption_is_made_once_and_shown(layered: LayeredModel, picture: Picture, home: Path) -> None:
    job, again = JobContext(1), JobContext(1)
    draft(layered, picture, job, prompt="")
    (told,) = [each for each in job.notes if "described as" in each]
    (kept,) = captions._read().values()
    assert kept["caption"] in told and kept["caption"]
    assert (home / captions.FILE).stat().st_mode & 0o777 == 0o600
    captions.keep(next(iter(captions._read())), "a caption that was kept")
    draft(layered, picture, again, prompt=" ")
    assert any("a caption that was kept" in each for each in again.notes)
    draft(layered, picture, mine := JobContext(1), prompt="my own words")
    assert not any("described as" in each for each in mine.notes)


def test_names_come_from_the_vision_model(
    layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a random model says is no name: its answer is put in its place, the asking is real."""
    asked: list[str] = []
    answer = module.Reader._answer

    def answering(self: Any, question: str, image: Any, most: int) -> str:
        answer(self, question, image, most)
        asked.append(question)
        return "**“red kite”.**\nIt flies."

    monkeypatch.setattr(module.Reader, "_answer", answering)
    found = layers_of(draft(layered, picture))
    assert [each.layer.name for each in found] == ["Red kite", "Red kite"]
    assert len(asked) == 2


def test_the_prompt_the_guidance_and_its_opposite_count(layered: LayeredModel, picture: Picture) -> None:
    def pixels(**settings: Any) -> np.ndarray[Any, Any]:
        return layers_of(draft(layered, picture, **settings))[0].layer.pixels

    plain = pixels()
    assert np.array_equal(plain, pixels())
    for other in ({"prompt": "y"}, {"guidance_scale": 9.0}, {"negative_prompt": "z"}, {"num_inference_steps": 3}):
        latents_differ = pixels(**other)
        assert plain.shape == latents_differ.shape
    assert np.array_equal(pixels(guidance_scale=1.0), pixels(guidance_scale=1.0, negative_prompt="z"))


def test_auto_drops_blanks_and_copies(layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of which it is known what they hold: a ground, a crowd of two, the crowd again, and nothing."""
    ground = np.full((128, 160, 4), 255, np.uint8)
    crowd = np.zeros((128, 160, 4), np.uint8)
    crowd[10:60, 10:60] = (200, 0, 0, 255)
    crowd[70:120, 90:150] = (0, 0, 200, 255)
    left, right = crowd.copy(), crowd.copy()
    left[70:] = 0
    right[:70] = 0
    runs = iter([[ground, crowd, crowd.copy(), np.zeros_like(crowd)], [ground, left, right]])
    asked: list[int] = []

    def frames(self: Any, image: Any, layers: int, seed: int, *, of_layer: bool = False) -> Any:
        assert of_layer == bool(asked)
        asked.append(layers)
        yield Progress("x", 1, 1)
        return next(runs)

    monkeypatch.setattr(module.Run, "frames", frames)
    found = layers_of(draft(layered, picture, num_layers="auto"))
    assert asked == [4, 3]
    shown = [tuple(np.flatnonzero(each.layer.pixels[..., 3].any(axis=1))[[0, -1]]) for each in found]
    assert [each.layer.kind for each in found] == ["background", "object", "object"]
    assert sorted(shown[1:]) == [(10, 59), (70, 119)]


def failing(times: int, error: Exception) -> Any:
    """In the place of the steps: fails so often."""
    real = module.denoise
    left = [times]

    def denoise(*given: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return real(*given)

    return denoise


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_once_is_tried_leaner(
    layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    counted = loads(monkeypatch)
    monkeypatch.setattr(module, "denoise", failing(1, error))
    assert len(layers_of(draft(layered, picture))) == 2
    assert counted[0] == "whole" and len(counted) == 2


def test_out_of_memory_twice_is_an_error_and_the_model_lives_on(
    layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "denoise", failing(2, torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(UnflattenError, match="ran out of memory") as told:
        draft(layered, picture)
    assert told.value.code == "out_of_memory" and told.value.hint
    assert len(layers_of(draft(layered, picture))) == 2


def test_another_error_is_not_taken_for_it(
    layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "denoise", failing(1, RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes"):
        draft(layered, picture)


def test_nothing_fits(layered: LayeredModel, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Residence, "machine", lambda _: Machine("cpu", GB, GB, shared=True))
    with pytest.raises(BackendUnavailable, match="does not fit"):
        draft(layered, picture)


def test_cancelled_while_it_looks_at_the_picture(layered: LayeredModel, picture: Picture) -> None:
    draft(layered, picture)  # loaded
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        draft(layered, picture, JobContext(1, cancelled=lambda: next(asked, True)), prompt="")
    assert not captions._read()
    assert len(layers_of(draft(layered, picture))) == 2


def test_damaged_files_are_told(model: Path, picture: Picture, tmp_path: Path) -> None:
    files = running.files(model, transformer=tmp_path / "gone.safetensors")
    (tmp_path / "gone.safetensors").write_bytes(b"\0" * 100)
    layered = LayeredModel(Residence(files, Options(), "cpu"))
    with pytest.raises(BackendUnavailable, match="could not be loaded") as told:
        draft(layered, picture)
    assert "unflatten models" in told.value.hint


def test_memory_that_others_want(model: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    layered = LayeredModel(residence := Residence(running.files(model), Options(), "cpu"))
    assert not layered.memory_wanted()
    draft(layered, picture)
    assert not layered.memory_wanted()

    def card(free: float, ram: float) -> None:
        monkeypatch.setattr(Residence, "machine", lambda _: Machine("cuda", int(free * GB), int(ram * GB)))

    card(8, 64)
    residence.rest()
    card(0.9, 64)
    assert layered.memory_wanted()  # another took seven
    card(0.9, 64)
    residence.rest()
    assert not layered.memory_wanted()  # little was left all along, and nobody has taken more
    card(8, 0.1)
    assert layered.memory_wanted()
    assert living.SCARCE > living.TAKEN


def test_a_limit_on_memory_ends_the_picture_and_not_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, the kernel's: what is asked for beyond it is refused."""
    monkeypatch.setattr(module, "fit_to_model", frames.fit_to_model)
    layered = LayeredModel(Residence(running.files(model), Options(), "cpu"))
    pixels = np.full((1024, 1024, 4), 200, np.uint8)
    small = Picture(pixels[:64, :64])
    monkeypatch.setattr(module, "fit_to_model", lambda view, _: frames.fit_to_model(view, 96))
    draft(layered, small)  # all that is loaded once is loaded
    monkeypatch.setattr(module, "fit_to_model", frames.fit_to_model)
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (taken + 60 * 2**20, before[1]))
    try:
        with pytest.raises(UnflattenError, match="ran out of memory"):
            draft(layered, Picture(pixels))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    monkeypatch.setattr(module, "fit_to_model", lambda view, _: frames.fit_to_model(view, 96))
    assert len(layers_of(draft(layered, small))) == 2
