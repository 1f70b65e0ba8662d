"""A transformer's weights out of safetensors files, tensor by tensor, straight to where they belong.

A library's loader would first hold all 41 GB in the computer's memory; here it holds one tensor at a time. LoRA weights
are added, and weights packed in 8 bits, on the way.
"""
# pyright: standard, reportMissingImports=false

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from bridge.backends.diffusers.lora import Lora
from bridge.backends.diffusers.quantised import PackedLinear

PREFIX = "model.diffusion_model."
"""Before each tensor's name in files made for ComfyUI."""
INDEX = "*.safetensors.index.json"
SCALES = (".scale_weight", ".weight_scale")
"""After a layer's name: the number that its 8-bit weights are to be multiplied by."""
KEPT_WIDE = ("img_in", "txt_in", "proj_out", "norm_out", "time_text_embed", "lm_head")
"""Layers at the ends that are never packed: what they lose would be lost in all that follows."""
OLDER_NAMES = (
    (re.compile(r"^visual\."), "model.visual."),
    (re.compile(r"^model\.(?!language_model\.|visual\.)"), "model.language_model."),
)
"""Of Qwen2.5-VL's tensors, as they are published, and as transformers 5 calls them."""


def files_of(path: Path) -> list[Path]:
    """The safetensors files of a transformer: the file itself, or those of a folder in diffusers' layout."""
    if path.is_file():
        return [path]
    index = next(path.glob(INDEX), None)
    if index is not None:
        told = json.loads(index.read_text("utf-8"))
        return sorted({path / name for name in told["weight_map"].values()})
    return sorted(path.glob("*.safetensors"))


def fill(
    model: nn.Module, path: Path, dtype: torch.dtype, device: str, storage: torch.dtype | None, lora: Lora
) -> None:
    """Give `model`, which was made on the device “meta”, its weights from `path`.

    dtype: what is computed with. storage: what its linear layers are packed in; None: not at all. Raises KeyError where
    a tensor is missing and RuntimeError where one has another shape.
    """
    wanted = model.state_dict()
    given: set[str] = set()
    for name, tensor in _tensors(path, dtype):
        if name not in wanted:
            continue
        if tensor.shape != wanted[name].shape:
            raise RuntimeError(f"{name}: {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}")
        given.add(name)
        on_device = lora.added(name, tensor.to(device=device, dtype=dtype))
        module, _, field = name.rpartition(".")
        if storage is not None and field == "weight" and _is_packed(model.get_submodule(module), module):
            _replace(model, module, PackedLinear.pack(on_device, None, storage))
        else:
            _put(model.get_submodule(module), field, on_device)
    missing = sorted(wanted.keys() - given)
    if missing:
        raise KeyError(missing[0])


def _tensors(path: Path, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors by their names in the model; weights before biases: a layer is packed before its bias comes."""
    for file in files_of(path):
        with safe_open(file, framework="pt") as opened:
            names = set(opened.keys())
            for name in sorted(names, key=lambda each: (not each.endswith(".weight"), each)):
                if name.endswith((*SCALES, ".comfy_quant", ".input_scale", ".scale_input")) or name == "scaled_fp8":
                    continue
                tensor = opened.get_tensor(name)
                layer = name.removesuffix(".weight")
                scale = next((layer + ending for ending in SCALES if layer + ending in names), None)
                if scale is not None and layer != name:
                    tensor = tensor.to(torch.float32) * opened.get_tensor(scale).float().reshape(-1, 1)
                yield _name_now(name.removeprefix(PREFIX)), tensor


def _name_now(name: str) -> str:
    for older, now in OLDER_NAMES:
        name = older.sub(now, name)
    return name


def _is_packed(module: nn.Module, name: str) -> bool:
    return isinstance(module, nn.Linear) and not name.startswith(KEPT_WIDE)


def _replace(model: nn.Module, name: str, packed: PackedLinear) -> None:
    parent, _, field = name.rpartition(".")
    setattr(model.get_submodule(parent), field, packed)


def _put(module: nn.Module, field: str, tensor: torch.Tensor) -> None:
    if isinstance(module, PackedLinear):
        module.register_buffer(field, tensor)
    elif field in module._buffers:
        module._buffers[field] = tensor
    else:
        module._parameters[field] = nn.Parameter(tensor, requires_grad=False)
