"""LoRA adapters, added to a model's weights while those are read: W + scale · B A, with nothing left to compute later.

Edward Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021.
"""
# pyright: standard, reportMissingImports=false

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file

PREFIXES = re.compile(r"^(base_model\.model\.)?(transformer\.|diffusion_model\.)?")
PART = re.compile(r"^(?P<layer>.+)\.(?P<part>lora_A|lora_B|lora_down|lora_up)(\.default)?\.weight$")
CONFIG = "adapter_config.json"


class Lora:
    """What an adapter adds to each layer's weights; with no path it adds nothing."""

    def __init__(self, path: Path | None) -> None:
        """path: a .safetensors file, or PEFT's folder of one. Raises ValueError where it holds no adapter."""
        self._parts: dict[str, dict[str, torch.Tensor]] = {}
        self._alphas: dict[str, float] = {}
        self._ratio: float | None = None
        if path is not None:
            self._read(path)

    @property
    def layers(self) -> list[str]:
        """The layers that it changes."""
        return sorted(self._parts)

    def added(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The tensor called `name`, with what the adapter adds to it."""
        layer = name.removesuffix(".weight")
        if layer == name or layer not in self._parts:
            return weight
        down, up = (each.to(weight.device) for each in self.matrices(layer))
        return (weight.float() + up @ down).to(weight.dtype)

    def matrices(self, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A (rank, in) and B (out, rank) of a layer, 32-bit, B with the scale in it."""
        down, up = (self._parts[layer][side].float() for side in ("down", "up"))
        scale = self._alphas[layer] / down.shape[0] if layer in self._alphas else (self._ratio or 1.0)
        return down, up * scale

    def _read(self, path: Path) -> None:
        file = path if path.is_file() else next(iter(sorted(path.glob("*.safetensors"))), None)
        if file is None:
            raise ValueError("no adapter is in the folder")
        config = file.with_name(CONFIG)
        if config.is_file():
            told = json.loads(config.read_text("utf-8"))
            rank = told["r"] ** 0.5 if told.get("use_rslora") else told["r"]
            self._ratio = told["lora_alpha"] / rank
        for key, tensor in load_file(file).items():
            name = PREFIXES.sub("", key)
            if found := PART.match(name):
                side = "down" if found["part"] in ("lora_A", "lora_down") else "up"
                self._parts.setdefault(found["layer"], {})[side] = tensor
            elif name.endswith(".alpha"):
                self._alphas[name.removesuffix(".alpha")] = float(tensor)
        if not self._parts or any(len(parts) != 2 for parts in self._parts.values()):
            raise ValueError("no adapter is in the file")
