"""Loads a model's components as a plan lays them out, from folders and files of this computer alone."""
# pyright: standard, reportMissingImports=false, reportAttributeAccessIssue=false

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageLayeredPipeline,
    QwenImageTransformer2DModel,
)
from diffusers.hooks import apply_group_offloading
from transformers import (
    AutoConfig,
    GenerationConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
)

from bridge.backends.diffusers import weights
from bridge.backends.diffusers.gguf_files import load_gguf
from bridge.backends.diffusers.library import ModelFiles
from bridge.backends.diffusers.lora import Lora
from bridge.backends.diffusers.plan import Plan
from bridge.backends.diffusers.shipped import config_of, folder_of

STORAGE = {"as they are": None, "fp8": torch.float8_e4m3fn, "int8": torch.int8}
TORCH_NAMES = {"rocm": "cuda"}
"""What torch calls an accelerator, where it is not its own name."""


@dataclass
class Parts:
    """A loaded model. pipe: diffusers' pipeline, whose helpers are used; its `processor` is None, since that needs a
    library for video. vision: prepares pictures for the text encoder's eyes. drafted: pictures that it has split."""

    pipe: Any
    vision: Any
    device: str
    dtype: torch.dtype
    plan: Plan
    drafted: int = 0

    @contextmanager
    def on_device(self, name: str) -> Generator[Any]:
        """The component of that name, on the device while it works where it comes and goes by turns."""
        component, place = getattr(self.pipe, name), self.place(name)
        if place == "turns":
            component.to(self.device)
        try:
            yield component
        finally:
            if place == "turns":
                component.to("cpu")
                empty_cache(self.device)

    @property
    def encoder_device(self) -> str:
        """Where the text encoder computes."""
        return "cpu" if self.plan.encoder == "cpu" else self.device

    def place(self, name: str) -> str:
        return {"transformer": self.plan.transformer, "text_encoder": self.plan.encoder}.get(name, "device")


def empty_cache(device: str) -> None:
    """Give memory that torch holds in reserve back to the device."""
    if device != "cpu":
        getattr(torch, device).empty_cache()


def torch_device(accelerator: str) -> str:
    return TORCH_NAMES.get(accelerator, accelerator)


def dtype_of(accelerator: str) -> torch.dtype:
    """What is computed with: bfloat16 where the device has it."""
    if accelerator == "cpu":
        return torch.float32
    if torch_device(accelerator) == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def load(files: ModelFiles, plan: Plan, accelerator: str) -> Parts:
    """All components where the plan wants them.

    Raises OSError, KeyError, RuntimeError and ValueError for files that are not what they were when they were added.
    """
    device, dtype = torch_device(accelerator), dtype_of(accelerator)
    vae: Any = AutoencoderKLQwenImage.from_pretrained(files.base / "vae", torch_dtype=dtype, local_files_only=True)
    if plan.tiled:
        vae.enable_tiling()
    transformer = _place(load_transformer(files, plan, device, dtype), plan.transformer, device)
    encoder = _place(load_encoder(files, plan, device, dtype), plan.encoder, device)
    pipe = QwenImageLayeredPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(files.base / "scheduler", local_files_only=True),
        vae=vae.to(device),
        text_encoder=encoder,
        tokenizer=Qwen2Tokenizer.from_pretrained(files.base / "tokenizer", local_files_only=True),
        processor=None,
        transformer=transformer,
    )
    return Parts(pipe, _vision(files.base / "processor"), device, dtype, plan)


def load_transformer(files: ModelFiles, plan: Plan, device: str, dtype: torch.dtype) -> Any:
    """The transformer, on the device where the plan keeps it there."""
    lora = Lora(files.lora)
    if files.form == "gguf":
        return load_gguf(files, dtype, lora)
    if files.form == "bnb4":
        return QwenImageTransformer2DModel.from_pretrained(files.transformer, torch_dtype=dtype, local_files_only=True)
    with init_empty_weights():
        model: Any = QwenImageTransformer2DModel.from_config(config_of(files, "transformer"))
    storage = torch.float8_e4m3fn if files.form == "fp8" else STORAGE[plan.weights]
    weights.fill(model, files.transformer, dtype, device if plan.transformer == "device" else "cpu", storage, lora)
    return model.eval()


def load_encoder(files: ModelFiles, plan: Plan, device: str, dtype: torch.dtype) -> Any:
    """The text encoder, on the device where the plan keeps it there."""
    if files.form == "bnb4":
        model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            files.text_encoder, dtype=dtype, local_files_only=True
        )
        return model.eval()
    config: Any = AutoConfig.from_pretrained(folder_of(files, "text_encoder"), local_files_only=True)
    with init_empty_weights():
        model = Qwen2_5_VLForConditionalGeneration(config)
    if (files.text_encoder / "generation_config.json").is_file():  # which words end an answer
        model.generation_config = GenerationConfig.from_pretrained(files.text_encoder, local_files_only=True)
    place = device if plan.encoder == "device" else "cpu"
    weights.fill(model, files.text_encoder, dtype, place, STORAGE[plan.weights], Lora(None))
    return model.eval()


def _place(component: Any, place: str, device: str) -> Any:
    """The component, where the plan wants it: on the device, in memory for now, or coming block by block."""
    if place == "device":
        return component.to(device)
    if place == "blocks":
        apply_group_offloading(
            component,
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=device in ("cuda", "xpu"),
            non_blocking=device in ("cuda", "xpu"),
        )
    return component


def _vision(folder: Path) -> Any:
    """The picture's way into the text encoder, with the checkpoint's own numbers where it has some."""
    file = folder / "preprocessor_config.json"
    told = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    known = (
        "min_pixels",
        "max_pixels",
        "patch_size",
        "temporal_patch_size",
        "merge_size",
        "image_mean",
        "image_std",
        "size",
    )
    return Qwen2VLImageProcessorPil(**{name: told[name] for name in known if name in told})
