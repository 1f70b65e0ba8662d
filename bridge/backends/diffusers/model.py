"""One picture's way through the model, from its pixels to draft layers."""
# pyright: standard, reportMissingImports=false

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.backends.base import DraftLayer, JobContext, Preview, Progress
from bridge.backends.diffusers import auto, captions
from bridge.backends.diffusers.acceleration import LEVELS, applied
from bridge.backends.diffusers.denoise import Guidance, Words, denoise
from bridge.backends.diffusers.frames import Frame, decode, fit_to_model, prepare, small
from bridge.backends.diffusers.loading import Parts
from bridge.backends.diffusers.reader import Reader
from bridge.backends.diffusers.residence import Residence, is_out_of_memory
from bridge.picture import Layer
from bridge.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from bridge.picture import Picture

Steps = Generator[Progress | Preview | DraftLayer, None, None]

PREVIEW_AFTER = 0.25
"""Of the steps: layers can be told apart from then on."""
OPAQUE = 250
"""Alpha: the model writes 251–254 where it means opaque."""
NO_PROMPT = " "
"""What stands for an empty negative prompt: without any, nothing would be guided."""
LOOKING, NAMING = "Looking at the picture", "Naming the layers"
SPLITTING, SPLITTING_AGAIN = "Splitting it into layers", "Splitting a layer that holds several things"
MAKING = "Drawing the layers"


class LayeredModel:
    """Qwen-Image-Layered, as its residence holds it."""

    def __init__(self, residence: Residence) -> None:
        self._residence = residence

    def memory_wanted(self) -> bool:
        """Whether another program needs the memory that the model holds."""
        return self._residence.memory_wanted()

    def draft(self, picture: "Picture", settings: Settings, job: JobContext) -> Steps:
        """The layers, back to front, at the model's own size, once they are drawn."""
        image = fit_to_model(picture.view, self._residence.options.resolution)
        layers = auto.FIRST if settings.num_layers == "auto" else settings.num_layers
        leaner = False
        while True:
            try:
                parts = yield from self._residence.ready(image.size, layers, job, leaner=leaner)
                frames = yield from self._split(parts, image, layers, settings, job)
                yield from self._named(parts, frames, job)
                return
            except (RuntimeError, MemoryError) as problem:
                if not is_out_of_memory(problem):
                    raise
                if leaner:
                    raise self._residence.out_of_memory() from None
                leaner = True
            finally:
                self._residence.rest()

    def _split(
        self, parts: Parts, image: "Image", layers: int, settings: Settings, job: JobContext
    ) -> Generator[Progress | Preview, None, list[Frame]]:
        """The frames that count, back to front."""
        prompt, negative = yield from self._words(parts, image, settings, job)
        run = Run(parts, prompt, negative, settings, job)
        frames = yield from run.frames(image, layers, job.seed)
        if settings.num_layers != "auto":
            return frames
        kept = [frames[number] for number in auto.worth_keeping(frames)] or frames[:1]
        for number in sorted(auto.crowded(kept), reverse=True):  # from the top, so that numbers below stay right
            if len(kept) + 1 > auto.MOST:
                break
            whole = kept[number]
            again = yield from run.frames(_as_image(whole), auto.AGAIN, job.seed, of_layer=True)
            better = auto.gained(whole, again)
            if len(kept) - 1 + len(better) <= auto.MOST:
                kept[number : number + 1] = better
        return kept

    def _words(
        self, parts: Parts, image: "Image", settings: Settings, job: JobContext
    ) -> Generator[Progress, None, tuple[Words, Words | None]]:
        """What the picture shows, as the user says or the model sees it, and what it shall not show."""
        yield Progress(LOOKING, 0, 1)
        reader = Reader(parts, job.checkpoint)
        prompt = settings.prompt.strip()
        with parts.on_device("text_encoder"):
            if not prompt:
                prompt = self._caption(reader, image)
                job.notes.append(f"The picture was described as: “{prompt}”. Another prompt may split it differently.")
            words = reader.embed(prompt or NO_PROMPT)
            guided = settings.guidance_scale > 1
            negative = reader.embed(settings.negative_prompt.strip() or NO_PROMPT) if guided else None
        yield Progress(LOOKING, 1, 1)
        return words, negative

    def _caption(self, reader: Reader, image: "Image") -> str:
        key = captions.digest(image.tobytes(), self._residence.files.name)
        known = captions.find(key)
        if known is None:
            known = reader.describe(image)
            captions.keep(key, known)
        return known

    def _named(self, parts: Parts, frames: list[Frame], job: JobContext) -> Steps:
        """The frames as draft layers, each with a name where one can be had."""
        names = [""] * len(frames)
        if self._residence.options.name_layers and parts.plan.encoder in ("device", "turns"):
            reader = Reader(parts, job.checkpoint)
            try:
                with parts.on_device("text_encoder"):
                    for number, frame in enumerate(frames):
                        yield Progress(NAMING, number, len(frames))
                        names[number] = "" if _covers(frame) else reader.name(frame)
            except (RuntimeError, MemoryError) as problem:  # a picture is not split once more for its names
                if not is_out_of_memory(problem):
                    raise
        for number, frame in enumerate(frames):
            height, width = frame.shape[:2]
            kind = "background" if number == 0 and _covers(frame) else "object"
            yield DraftLayer(Layer(names[number], frame, kind=kind), width, height)


class Run:
    """The model's work on one picture, and on the layers of it that are split again."""

    def __init__(
        self, parts: Parts, prompt: Words, negative: Words | None, settings: Settings, job: JobContext
    ) -> None:
        self._parts = parts
        self._prompt = prompt
        self._negative = negative
        self._level = LEVELS[settings.acceleration]
        self._steps = self._level.steps_of(settings.num_inference_steps)
        self._guidance = Guidance(settings.guidance_scale, self._level.guided)
        self._job = job
        self._told_drift = False

    def frames(
        self, image: "Image", layers: int, seed: int, *, of_layer: bool = False
    ) -> Generator[Progress | Preview, None, list[Frame]]:
        """The frames of `image`, back to front, (h, w, 4) uint8, without the composite.

        of_layer: it is a layer of the picture, of which no previews are shown.
        """
        parts, job = self._parts, self._job
        stage = SPLITTING_AGAIN if of_layer else SPLITTING
        yield Progress(stage, 0, self._steps)
        prepared = prepare(parts, image, layers, seed)
        began, latents = time.monotonic(), prepared.latents
        with parts.on_device("transformer"), applied(parts, self._level):
            steps = denoise(parts, prepared, self._prompt, self._negative, self._guidance, self._steps, job.checkpoint)
            for step in steps:
                latents = step.latents
                left = (time.monotonic() - began) / step.number * (step.count - step.number)
                yield Progress(stage, step.number, step.count, seconds_left=round(left, 1))
                if not of_layer and step.number == max(1, round(PREVIEW_AFTER * step.count)) < step.count:
                    yield Preview(tuple(small(each) for each in decode(parts, prepared, step.guessed, first=1)))
        parts.drafted += 1
        drawn: list[Frame] = []
        for number, frame in enumerate(decode(parts, prepared, latents)):
            job.checkpoint()
            if number == 0:
                self._tell_drift(frame, image)
                continue
            drawn.append(frame)
            yield Progress(MAKING, number, layers)
            if not of_layer:
                yield Preview(tuple(small(each) for each in drawn))
        return drawn

    def _tell_drift(self, composite: Frame, image: "Image") -> None:
        """How far the model's own idea of the whole picture is from it: no layer can be nearer."""
        if self._told_drift:
            return
        self._told_drift = True
        given = np.asarray(image).astype(np.float32)
        share = given[..., 3:] / 255
        off = np.abs(composite[..., :3].astype(np.float32) - given[..., :3]) * share
        self._job.notes.append(f"The model painted the whole picture {float(off.mean()):.1f} of 255 off.")


def _covers(frame: Frame) -> bool:
    return bool((frame[..., 3] >= OPAQUE).mean() > 0.99)


def _as_image(frame: Frame) -> Any:
    from PIL import Image

    return Image.fromarray(frame)
