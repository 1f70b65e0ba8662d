"""A transformer out of a GGUF file, whose matrices stay packed and are unpacked as they are computed with."""
# pyright: standard, reportMissingImports=false, reportAttributeAccessIssue=false

from typing import Any

import torch
from diffusers import GGUFQuantizationConfig, QwenImageTransformer2DModel
from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter, dequantize_gguf_tensor
from torch import nn

from bridge.backends.diffusers.library import ModelFiles
from bridge.backends.diffusers.lora import Lora
from bridge.backends.diffusers.shipped import folder_of


def load_gguf(files: ModelFiles, dtype: torch.dtype, lora: Lora) -> Any:
    """The transformer, in the computer's memory."""
    folder = folder_of(files, "transformer")
    model: Any = QwenImageTransformer2DModel.from_single_file(
        str(files.transformer),
        config=str(folder.parent if folder.name == "transformer" else folder),
        subfolder="transformer" if folder.name == "transformer" else None,
        quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
        torch_dtype=dtype,
        local_files_only=True,
    )
    _unpack_the_rest(model, dtype)
    _add(lora, model)
    return model.eval()


def _unpack_the_rest(model: nn.Module, dtype: torch.dtype) -> None:
    """Unpack what no layer unpacks by itself: some files have the table of `addition_t_embedding` packed too."""
    for module in model.modules():
        if isinstance(module, GGUFLinear):
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if isinstance(parameter, GGUFParameter):
                wide = dequantize_gguf_tensor(parameter).to(dtype)
                module._parameters[name] = nn.Parameter(wide, requires_grad=False)


def _add(lora: Lora, model: nn.Module) -> None:
    """An adapter cannot be added to packed weights: it is computed beside them."""
    for name in lora.layers:
        parent, _, field = name.rpartition(".")
        layer = model.get_submodule(name)
        setattr(model.get_submodule(parent), field, _WithLora(layer, *lora.matrices(name)))


class _WithLora(nn.Module):
    def __init__(self, layer: nn.Module, down: torch.Tensor, up: torch.Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("down", down)
        self.register_buffer("up", up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + x @ self.down.to(x.dtype).T @ self.up.to(x.dtype).T
