"""Our own steps and drawing, against diffusers' own pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import QwenImageLayeredPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_layered as theirs
from numpy.typing import NDArray
from PIL import Image

from bridge.backends.base import JobContext, Preview, Progress
from bridge.backends.diffusers import acceleration, sizes
from bridge.backends.diffusers.denoise import Guidance, denoise
from bridge.backends.diffusers.frames import drawn, fit_to_model, prepare
from bridge.backends.diffusers.loading import Parts
from bridge.backends.diffusers.reader import Reader
from bridge.errors import Cancelled
from tests.gpu import running
from tests.gpu.conftest import some_picture

AREA = 160
"""Theirs takes 640 or 1024 only; a smaller area is put in its place here."""


@pytest.fixture
def small_area(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = theirs.calculate_dimensions
    monkeypatch.setattr(theirs, "calculate_dimensions", lambda area, ratio: whole(AREA * AREA, ratio))


@pytest.mark.parametrize(("scale", "normalised"), [(4.0, True), (4.0, False), (1.0, True)])
def test_frames_are_those_of_the_pipeline(
    model: Path, parts: Parts, small_area: None, scale: float, normalised: bool
) -> None:
    """Within 1e-5, though each is drawn by itself."""
    view = np.random.default_rng(1).integers(0, 256, (300, 400, 4), np.uint8)
    pipe: Any = QwenImageLayeredPipeline.from_pretrained(model, processor=None)
    pipe.set_progress_bar_config(disable=True)
    wanted = pipe(
        image=Image.fromarray(view),
        prompt="a kite",
        negative_prompt=" ",
        true_cfg_scale=scale,
        layers=3,
        num_inference_steps=3,
        cfg_normalize=normalised,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    image = fit_to_model(view, AREA)
    reader = Reader(parts, JobContext(0).checkpoint)
    prompt, negative = reader.embed("a kite"), reader.embed(" ") if scale > 1 else None
    prepared = prepare(parts, image, 3, 7)
    steps = list(denoise(parts, prepared, prompt, negative, Guidance(scale, 1.0, normalised), 3, lambda: None))
    composite, *ours = drawn(parts, prepared, steps[-1].latents)
    assert composite.shape == ours[0].shape
    for mine, other in zip(ours, wanted, strict=True):
        assert np.abs(mine - other).max() < 1e-5


def test_latents_are_those_of_the_pipeline(model: Path, parts: Parts, small_area: None) -> None:
    """After each step, within 1e-5."""
    view = np.random.default_rng(2).integers(0, 256, (256, 256, 4), np.uint8)
    pipe: Any = QwenImageLayeredPipeline.from_pretrained(model, processor=None)
    pipe.set_progress_bar_config(disable=True)
    seen: list[torch.Tensor] = []

    def look(_: Any, __: int, ___: Any, told: dict[str, Any]) -> dict[str, Any]:
        seen.append(told["latents"].clone())
        return {}

    pipe(
        image=Image.fromarray(view),
        prompt="x",
        negative_prompt=" ",
        layers=2,
        num_inference_steps=4,
        cfg_normalize=True,
        generator=torch.Generator().manual_seed(1),
        callback_on_step_end=look,
    )
    reader = Reader(parts, JobContext(0).checkpoint)
    prepared = prepare(parts, fit_to_model(view, AREA), 2, 1)
    ours = denoise(parts, prepared, reader.embed("x"), reader.embed(" "), Guidance(4.0), 4, lambda: None)
    for mine, other in zip(ours, seen, strict=True):
        assert (mine.latents - other).abs().max() < 1e-5


def test_the_last_guess_is_the_end(parts: Parts, picture: Image.Image) -> None:
    prepared = prepare(parts, picture, 2, 1)
    words = Reader(parts, lambda: None).embed("x")
    last = list(denoise(parts, prepared, words, None, Guidance(1.0), 3, lambda: None))[-1]
    assert torch.allclose(last.latents, last.guessed, atol=1e-5)


def test_a_seed_gives_the_same_again(parts: Parts, picture: Image.Image) -> None:
    first, again = (running.frames(parts, picture, seed=5) for _ in range(2))
    other = running.frames(parts, picture, seed=6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_steps_and_previews_are_told(parts: Parts, picture: Image.Image) -> None:
    heard: list[Progress | Preview] = []
    running.frames(parts, picture, layers=3, steps=8, heard=heard)
    told = [(each.step, each.steps) for each in heard if isinstance(each, Progress) and each.seconds_left is not None]
    assert told == [(number, 8) for number in range(1, 9)]
    previews = [each for each in heard if isinstance(each, Preview)]
    early = heard.index(previews[0])
    assert sum(isinstance(each, Progress) for each in heard[:early]) == 3  # the start, and two of eight steps
    assert [len(each.images) for each in previews] == [3, 1, 2, 3]
    assert max(previews[0].images[0].shape) <= 160


@pytest.fixture(scope="module")
def undisturbed(model: Path) -> list[NDArray[np.uint8]]:
    """The frames of a model that was never cancelled."""
    return running.frames(running.loaded(model), some_picture(), seed=2, acceleration="regular")


@pytest.mark.parametrize("at", range(1, 14))
def test_cancelled_at_any_moment_the_model_stays_usable(
    parts: Parts, picture: Image.Image, undisturbed: list[NDArray[np.uint8]], at: int
) -> None:
    """Two passes a step, three blocks a pass, and the drawing: each is asked before."""
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > at

    with pytest.raises(Cancelled):
        running.frames(parts, picture, seed=2, acceleration="regular", job=JobContext(2, cancelled=cancelled))
    again = running.frames(parts, picture, seed=2, acceleration="regular")
    assert all(np.array_equal(a, b) for a, b in zip(undisturbed, again, strict=True))


@pytest.mark.parametrize("acceleration", ["none", "regular", "high"])
def test_each_acceleration_runs(parts: Parts, picture: Image.Image, acceleration: str) -> None:
    heard: list[Progress | Preview] = []
    running.frames(parts, picture, steps=20, acceleration=acceleration, heard=heard)
    steps = [each.steps for each in heard if isinstance(each, Progress) and each.seconds_left is not None]
    assert steps[0] == {"none": 20, "regular": 20, "high": 12}[acceleration]


def test_the_model_s_drift_is_told_once(parts: Parts, picture: Image.Image) -> None:
    job = JobContext(0)
    running.frames(parts, picture, job=job)
    assert len(job.notes) == 1 and "of 255 off" in job.notes[0]


def test_weights_are_counted_as_they_are(parts: Parts) -> None:
    pipe = parts.pipe
    transformer = sum(each.numel() for each in pipe.transformer.parameters())
    assert sizes.transformer_weights(pipe.transformer.config) == transformer
    encoder = sum(each.numel() for each in pipe.text_encoder.parameters())
    assert abs(sizes.encoder_weights(pipe.text_encoder.config.to_dict()) / encoder - 1) < 0.02


def test_blocks_are_compiled_once_it_is_worth_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only on a card that holds the transformer, and after some pictures."""
    compiled: list[Any] = []
    monkeypatch.setattr(acceleration, "compile_blocks", compiled.append)
    parts = running.loaded(model)
    level = acceleration.LEVELS["regular"]
    for device, drafted in (("cpu", 9), ("cuda", 0), ("cuda", acceleration.COMPILED_AFTER)):
        parts.device, parts.drafted = device, drafted
        with acceleration.applied(parts, level):
            pass
    assert len(compiled) == 1
