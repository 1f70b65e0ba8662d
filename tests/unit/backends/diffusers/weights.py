"""Files of weights put together by hand: what their headers say is true, and the numbers are zeros."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

from bridge.backends.diffusers.headers import BLOCKS, Tensor

LAYERS, INNER, CHANNELS, TEXT = 2, 32, 64, 32
"""Of the small transformer that these are for."""
CONFIG = {
    "_class_name": "QwenImageTransformer2DModel",
    "num_layers": LAYERS,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": CHANNELS,
    "joint_attention_dim": TEXT,
    "use_additional_t_cond": True,
    "use_layer3d_rope": True,
}
BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "I8": 1, "U8": 1}


def transformer(dtype: str = "BF16", layers: int = LAYERS, prefix: str = "") -> dict[str, Tensor]:
    """Some of a transformer's tensors."""
    tensors = {
        "img_in.weight": Tensor(dtype, (INNER, CHANNELS)),
        "txt_in.weight": Tensor(dtype, (INNER, TEXT)),
        "time_text_embed.addition_t_embedding.weight": Tensor(dtype, (2, INNER)),
        **{
            f"transformer_blocks.{number}.attn.{name}.weight": Tensor(dtype, (INNER, INNER))
            for number in range(layers)
            for name in ("add_k_proj", "to_q")
        },
    }
    return {prefix + name: tensor for name, tensor in tensors.items()}


def lora(inner: int = INNER, layers: int = LAYERS) -> dict[str, Tensor]:
    return {
        f"base_model.model.transformer_blocks.{number}.attn.to_q.lora_{half}.weight": Tensor("BF16", shape)
        for number in range(layers)
        for half, shape in (("A", (4, inner)), ("B", (inner, 4)))
    }


def safetensors(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    header, end = {}, 0
    for name, tensor in tensors.items():
        size = math.prod(tensor.shape) * BYTES[tensor.dtype]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path


def gguf(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    numbers = {name: number for number, (name, _, _) in BLOCKS.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 3)
    head += _text("general.architecture") + struct.pack("<I", 8) + _text("qwen_image")
    head += _text("general.numbers") + struct.pack("<IIQ3H", 9, 2, 3, 1, 2, 3)
    head += _text("general.words") + struct.pack("<IIQ", 9, 8, 2) + _text("one") + _text("two")
    end = 0
    for name, tensor in tensors.items():
        number = numbers[tensor.dtype]
        _, values, size = BLOCKS[number]
        head += _text(name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)) + struct.pack("<IQ", number, end)
        end += -(-(math.prod(tensor.shape) // values * size) // 32) * 32
    head += bytes(-len(head) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + bytes(end))
    return path


def whole(folder: Path) -> Path:
    """A whole model in diffusers' layout."""
    index = {"_class_name": "QwenImageLayeredPipeline"}
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "transformer" / "config.json").write_text(json.dumps(CONFIG))
    for name in ("scheduler/scheduler_config.json", "vae/config.json", "text_encoder/config.json"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    safetensors(folder / "transformer" / "diffusion_pytorch_model.safetensors", transformer())
    for name in ("vae", "text_encoder"):
        safetensors(folder / name / "model.safetensors", {"weight": Tensor("BF16", (4, 4))})
    return folder


def _text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()
