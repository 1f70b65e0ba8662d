"""Linear layers whose weights are kept in 8 bits and computed with in 16: half the memory, nearly the same numbers.

Symmetric, with a scale for each row of the weights, so that rows of small weights keep their digits too. Of the
matrices, the largest errors of a row are 1/15 of a weight (fp8, e4m3: three bits after the leading one) or 1/254 of the
row's largest (int8).
"""
# pyright: standard, reportMissingImports=false

import torch
from torch import nn

LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}


class PackedLinear(nn.Module):
    """A linear layer with `weight` (out, in) in fp8 or int8, `scale` (out, 1) and `bias` (out,) as they are computed
    with."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    @staticmethod
    def pack(weight: torch.Tensor, bias: torch.Tensor | None, storage: torch.dtype) -> "PackedLinear":
        """Of a layer's weights (out, in), in any floating type."""
        wide = weight.float()
        scale = (wide.abs().amax(dim=1, keepdim=True) / LARGEST[storage]).clamp_min(1e-12)
        small = wide / scale
        if storage is torch.int8:
            small = small.round()
        return PackedLinear(small.to(storage), scale.to(weight.dtype), bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype).T
        return y if self.bias is None else y + self.bias
