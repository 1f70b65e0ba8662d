"""Whether weights are those of this model, by their headers: a wrong or damaged file is refused before it is kept."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.backends.diffusers import headers
from bridge.backends.diffusers.headers import BadModel, Tensor

CONFIGS = Path(__file__).with_name("configs")
"""The components' config.json files, as Qwen/Qwen-Image-Layered has them, for what comes without its own."""
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
"""What ComfyUI and others put before the names of a transformer's weights."""
EXTRA_TIME = "time_text_embed.addition_t_embedding.weight"
"""Only the layered model has it: whether a frame is the picture or a layer."""
PLAIN = frozenset({"F32", "F16", "BF16"})
FP8 = frozenset({"F8_E4M3", "F8_E5M2"})
SCALES = (".scale_weight", ".weight_scale", ".input_scale", ".scale_input", ".comfy_quant")
"""Endings of what ComfyUI puts beside weights of 8 bits."""
LORA = re.compile(r"\.?lora[_.](A|B|up|down)\b|lora_(A|B|up|down)")
BLOCK = re.compile(r"transformer_blocks\.(\d+)\.")
DEQUANTISED = "One of its weights is kept in too few bits to be used so, and is expanded when it is loaded."


@dataclass(frozen=True)
class Checked:
    """What a transformer's or an adapter's weights were found to be. form: “bf16”, “fp8”, “gguf”, “bnb4” or “lora”."""

    form: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """What of a transformer's config decides the shapes of its weights."""

    layers: int
    inner: int
    channels: int
    text: int

    @staticmethod
    def of(config: Mapping[str, Any]) -> "Shape":
        inner = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
        return Shape(int(config["num_layers"]), inner, int(config["in_channels"]), int(config["joint_attention_dim"]))


def shape_in(base: Path | None) -> Shape:
    """The shape that the base's own config tells; without one, that of the model as it was published."""
    config = read_json((base or CONFIGS) / "transformer" / "config.json") or read_json(
        CONFIGS / "transformer/config.json"
    )
    try:
        return Shape.of(config)
    except (KeyError, TypeError, ValueError):
        raise BadModel(f"The transformer's config.json in {base} is damaged.", "Fetch it again.") from None


def single_file(path: Path, shape: Shape) -> Checked:
    """A transformer, or an adapter to it, in one .safetensors or .gguf file. Raises BadModel."""
    tensors = headers.read(path)
    if any(LORA.search(name) for name in tensors):
        return _lora(path.name, tensors, shape)
    return transformer(path.name, tensors, shape, gguf=path.suffix.lower() == ".gguf")


def transformer(name: str, tensors: Mapping[str, Tensor], shape: Shape, *, gguf: bool = False) -> Checked:
    """A transformer's weights, in their own precision, in fp8 or as GGUF. name: for sentences. Raises BadModel."""
    found = {_bare(each): tensor for each, tensor in tensors.items()}
    _check_kind(name, found, shape)
    if gguf:
        notes = () if found[EXTRA_TIME].dtype in PLAIN else (DEQUANTISED,)
        return Checked("gguf", notes)
    types = {tensor.dtype for each, tensor in found.items() if not each.endswith(SCALES)}
    odd = types - PLAIN - FP8
    if odd:
        raise BadModel(
            f"{name} holds weights of a kind ({', '.join(sorted(odd))}) that cannot be loaded.",
            "Choose one in bf16, fp8 or GGUF: see “unflatten models”.",
        )
    return Checked("fp8" if types & FP8 or any(each.endswith(SCALES) for each in found) else "bf16")


def folder(path: Path) -> Checked:
    """A whole model in diffusers' layout. Raises BadModel."""
    index = read_json(path / "model_index.json")
    if index.get("_class_name") != "QwenImageLayeredPipeline":
        what = f"is a model of another kind ({index['_class_name']})" if "_class_name" in index else "is no whole model"
        raise BadModel(f"{path} {what}.", "Choose the folder of Qwen-Image-Layered that has model_index.json in it.")
    for needed in ("scheduler/scheduler_config.json", "vae/config.json", "text_encoder/config.json"):
        if not (path / needed).is_file():
            raise BadModel(f"{path} lacks {needed}.", "Fetch the model again.")
    if not any((path / "tokenizer").glob("*.json")):
        raise BadModel(f"{path} lacks its tokenizer.", "Fetch the model again.")
    for part in ("vae", "text_encoder"):
        dict(headers.names(shards(path / part)))
    return transformer_folder(path / "transformer")


def transformer_folder(path: Path) -> Checked:
    """A transformer alone, in diffusers' layout. Raises BadModel."""
    config = read_json(path / "config.json")
    layered = config.get("use_additional_t_cond") and config.get("use_layer3d_rope")
    if config.get("_class_name") != "QwenImageTransformer2DModel" or not layered:
        raise BadModel(f"{path} is not the transformer of Qwen-Image-Layered.", "Choose another folder.")
    tensors = dict(headers.names(shards(path)))
    quantisation = config.get("quantization_config")
    if quantisation is None:
        return transformer(path.name, tensors, _shape_of(config, path))
    if not isinstance(quantisation, dict) or not _is_bnb4(quantisation):  # pyright: ignore[reportUnknownArgumentType]
        raise BadModel(f"The weights in {path} are packed in a way that cannot be loaded.", "Choose another model.")
    if EXTRA_TIME not in tensors or _layers(tensors) != set(range(_shape_of(config, path).layers)):
        raise BadModel(f"{path} is not the transformer of Qwen-Image-Layered.", "Choose another folder.")
    return Checked("bnb4")


def shards(path: Path) -> list[Path]:
    """The files of weights in a component's folder; all that its index names. Raises BadModel where one is missing."""
    found = sorted(path.glob("*.safetensors"))
    named = {str(name) for index in path.glob("*.index.json") for name in _weight_map(index)}
    missing = named - {file.name for file in found}
    if missing or not found:
        lacking = min(missing) if missing else "its weights"
        raise BadModel(f"{path} lacks {lacking}.", "Fetch it again: weights must be .safetensors files.")
    return [file for file in found if not named or file.name in named]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty where there is none. Raises BadModel where the file is no JSON."""
    try:
        told = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        raise BadModel(f"{path} is damaged: it is no JSON.", "Fetch it again.") from None
    return told if isinstance(told, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _shape_of(config: Mapping[str, Any], where: Path) -> Shape:
    try:
        return Shape.of(config)
    except (KeyError, TypeError, ValueError):
        raise BadModel(f"The transformer's config.json in {where} is damaged.", "Fetch it again.") from None


def _weight_map(index: Path) -> list[str]:
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict):
        raise BadModel(f"{index} is damaged.", "Fetch it again.")
    return [str(name) for name in weights.values()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _check_kind(name: str, found: Mapping[str, Tensor], shape: Shape) -> None:
    first = "transformer_blocks.0.attn.add_k_proj.weight"
    if first not in found or "img_in.weight" not in found:
        raise BadModel(f"{name} is a model of another kind.", "Choose weights of Qwen-Image-Layered.")
    if EXTRA_TIME not in found:
        raise BadModel(
            f"{name} is Qwen-Image, but not the model that makes layers.", "Choose weights of Qwen-Image-Layered."
        )
    layers = _layers(found)
    if layers != set(range(shape.layers)):
        raise BadModel(
            f"{name} has {len(layers)} blocks, and the model has {shape.layers}.",
            "Choose weights of Qwen-Image-Layered.",
        )
    wanted = {
        "img_in.weight": (shape.inner, shape.channels),
        "txt_in.weight": (shape.inner, shape.text),
        first: (shape.inner, shape.inner),
    }
    for each, size in wanted.items():
        if each not in found or found[each].shape != size:
            raise BadModel(
                f"{name} is of another size: its {each} does not fit.", "Choose Qwen-Image-Layered's weights."
            )


def _lora(name: str, tensors: Mapping[str, Tensor], shape: Shape) -> Checked:
    """An adapter: its names lead into this transformer's blocks, and its matrices fit them."""
    blocks = {int(found[1]) for each in tensors if (found := BLOCK.search(each)) and LORA.search(each)}
    fits = [
        tensor.shape[-1] == shape.inner
        for each, tensor in tensors.items()
        if re.search(r"attn[._](to_q|to_k|add_k_proj)[._]lora[_.](A|down)", each) and len(tensor.shape) == 2
    ]
    if not blocks or max(blocks) >= shape.layers or not all(fits):
        raise BadModel(
            f"{name} is an adapter (LoRA) to another model, or its names are not diffusers'.",
            "Choose one for Qwen-Image-Layered, as diffusers or PEFT saves it.",
        )
    return Checked("lora")


def _layers(found: Mapping[str, Tensor]) -> set[int]:
    return {int(match[1]) for each in found if (match := BLOCK.match(each))}


def _bare(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _is_bnb4(config: Mapping[str, Any]) -> bool:
    return config.get("quant_method") == "bitsandbytes" and bool(config.get("load_in_4bit"))
