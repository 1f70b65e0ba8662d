"""Qwen-Image-Layered at full size on this computer's graphics card: plain diffusers beside ours, in one run.

Run: .venv-gpu/bin/python -m tests.bench.gpu [--steps 50] [--layers 4] [--resolution 640] [--runs 2] [--tiny]

The architecture is the real one, from the configurations that ship with Unflatten; its weights are random and made on
the card, so nothing is downloaded. It takes 60 GB of the card's memory. Times and memory are those of the real model;
how often “regular” and “high” leave blocks out depends on the weights, so the passes that were really made are printed
beside their times. `--tiny` runs the same with the tests' tiny model on the processor, to see that it works.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageLayeredPipeline,
    QwenImageTransformer2DModel,
)
from PIL import Image
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

from bridge.backends.base import JobContext, Preview, Progress
from bridge.backends.diffusers.acceleration import COMPILED_AFTER
from bridge.backends.diffusers.frames import fit_to_model
from bridge.backends.diffusers.loading import Parts
from bridge.backends.diffusers.model import Run
from bridge.backends.diffusers.reader import Reader
from bridge.backends.diffusers.shipped import CONFIGS, shipped
from bridge.settings import Settings
from tests.gpu import running, tiny

WANTED = 60e9
"""Bytes of the card that must be free."""
PROMPT = "A poster with a red kite over a blue sea, and the words SUMMER FEST in large white letters"
SCALE = 4.0
SPREAD = 0.02
"""Of the random weights."""
PUBLISHED = "H100: 33.45 s (SGLang's own figures), H200: 34.2 s (the same); 640, 4 layers, 50 steps, CFG"


@dataclass
class Timed:
    """Seconds since the start at which things came."""

    total: float = 0.0
    steps: list[float] = field(default_factory=list[float])
    preview: float = 0.0
    layer: float = 0.0
    passes: int = 0
    peak: float = 0.0
    frames: list[Any] = field(default_factory=list[Any])


def random_parts(device: str) -> Parts:
    """The whole model, made on the device."""
    torch.manual_seed(0)
    dtype = torch.bfloat16
    with init_empty_weights():
        transformer: Any = QwenImageTransformer2DModel.from_config(shipped("transformer"))
        encoder: Any = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(CONFIGS / "text_encoder"))
        vae: Any = AutoencoderKLQwenImage.from_config(shipped("vae"))
    for model in (transformer, encoder, vae):
        materialise(model, device, dtype)
    pipe = QwenImageLayeredPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(shipped("scheduler", "scheduler_config.json")),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tiny.make_tokenizer(),
        processor=None,
        transformer=transformer,
    )
    return Parts(pipe, None, device, dtype, running.WHOLE)


@torch.no_grad()
def materialise(model: Any, device: str, dtype: torch.dtype) -> None:
    """Random weights on the device, without a copy anywhere else; what is no weight stays as it was computed."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            made = torch.empty(parameter.shape, dtype=dtype, device=device)
            made.fill_(1.0) if parameter.ndim == 1 and "norm" in name + type(module).__name__.lower() else made.normal_(
                0, SPREAD
            )
            module._parameters[name] = torch.nn.Parameter(made, requires_grad=False)
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = buffer.to(device)
    model.eval()


def measured(device: str, work: Callable[[Timed], None]) -> Timed:
    """What `work` took, after one that warmed up; peak: GB of the card."""
    gc.collect()
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    timed = Timed()
    began = time.monotonic()
    work(timed)
    if cuda:
        torch.cuda.synchronize()
        timed.peak = torch.cuda.max_memory_allocated() / 1e9
    timed.total = time.monotonic() - began
    timed.steps = [at - began for at in timed.steps]
    timed.preview -= began if timed.preview else 0
    timed.layer -= began if timed.layer else 0
    return timed


def plain(parts: Parts, image: Image.Image, steps: int, layers: int, resolution: int) -> Callable[[Timed], None]:
    """diffusers as its README has it."""

    def work(timed: Timed) -> None:
        def at_step(_: Any, __: int, ___: Any, ____: Any) -> dict[str, Any]:
            if parts.device == "cuda":
                torch.cuda.synchronize()
            timed.steps.append(time.monotonic())
            return {}

        parts.pipe.set_progress_bar_config(disable=True)
        result = parts.pipe(
            image=image,
            prompt=PROMPT,
            negative_prompt=" ",
            true_cfg_scale=SCALE,
            layers=layers,
            num_inference_steps=steps,
            resolution=resolution,
            cfg_normalize=True,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
            callback_on_step_end=at_step,
        )
        timed.frames = list(result.images[0])
        timed.layer = time.monotonic()

    return work


def ours(parts: Parts, image: Image.Image, steps: int, layers: int, acceleration: str) -> Callable[[Timed], None]:
    """Ours, as a job has it."""

    def work(timed: Timed) -> None:
        settings = Settings.model_validate(
            {"num_inference_steps": steps, "guidance_scale": SCALE, "acceleration": acceleration}
        )
        job = JobContext(0)
        reader = Reader(parts, job.checkpoint)
        counted = parts.pipe.transformer.transformer_blocks[-1].register_forward_pre_hook(
            lambda *_: setattr(timed, "passes", timed.passes + 1)
        )
        run = Run(parts, reader.embed(PROMPT), reader.embed(" "), settings, job).frames(image, layers, 0)
        try:
            while True:
                step = next(run)
                if isinstance(step, Preview):
                    timed.preview = timed.preview or time.monotonic()
                elif isinstance(step, Progress) and step.seconds_left is not None and step.step:
                    if parts.device == "cuda":
                        torch.cuda.synchronize()
                    timed.steps.append(time.monotonic())
                elif isinstance(step, Progress) and step.stage.startswith("Drawing"):
                    timed.layer = timed.layer or time.monotonic()
        except StopIteration as end:
            timed.frames = [frame / 255 for frame in end.value]
        finally:
            counted.remove()

    return work


def told(name: str, timed: Timed, beside: Timed) -> str:
    spans = np.diff([0.0, *timed.steps])
    step = float(np.median(spans[1:])) if len(spans) > 1 else timed.total
    off = max(float(np.abs(np.asarray(a) - b).max()) for a, b in zip(timed.frames, beside.frames, strict=True))
    preview = f"{timed.preview:6.1f} s" if timed.preview else "       –"
    return (
        f"{name:8} {timed.total:7.2f} s  ×{beside.total / timed.total:4.2f}  {step:6.3f} s a step  preview {preview}  "
        f"first layer {timed.layer:6.1f} s  peak {timed.peak:5.1f} GB  whole passes {timed.passes or '–':>4}  "
        f"largest difference {off:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Qwen-Image-Layered on this computer's graphics card, in figures.")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--resolution", type=int, choices=(640, 1024), default=640)
    parser.add_argument("--runs", type=int, default=2, help="of each; the last counts, the others warm up")
    parser.add_argument("--tiny", action="store_true", help="the tests' tiny model, on the processor")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.tiny:
            parts = running.loaded(tiny.save(Path(folder) / "tiny", num_layers=3))
            print("The tiny model, on the processor: the figures mean nothing.")
        elif not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < WANTED:
            print("There is no CUDA card here with 60 GB free: nothing was measured. --tiny tries the script itself.")
            return
        else:
            parts = random_parts("cuda")
            print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}. Others report {PUBLISHED}.")
        view = np.random.default_rng(0).integers(0, 256, (given.resolution, given.resolution, 4), np.uint8)
        view[..., 3] = 255
        image = fit_to_model(view, given.resolution)
        ways = {"plain": plain(parts, image, given.steps, given.layers, given.resolution)}
        parts.drafted = COMPILED_AFTER  # the first run of “regular” compiles, the last counts
        for level in ("none", "regular", "high"):
            ways[level] = ours(parts, image, given.steps, given.layers, level)
        first: Timed | None = None
        for name, work in ways.items():
            timed = [measured(parts.device, work) for _ in range(given.runs)][-1]
            first = first or timed
            print(told(name, timed, first), flush=True)


if __name__ == "__main__":
    main()
