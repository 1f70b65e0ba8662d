"""Every form of weights, every layout, and files that are not what they should be."""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bridge.backends.diffusers.loading import Parts
from bridge.backends.diffusers.lora import Lora
from bridge.backends.diffusers.plan import Place, Plan, Weights
from bridge.backends.diffusers.quantised import PackedLinear
from bridge.backends.diffusers.reader import Reader
from tests.gpu import running

WEIGHTS = "diffusion_pytorch_model.safetensors"


def laid_out(weights: Weights = "as they are", transformer: Place = "device", encoder: Place = "device") -> Plan:
    return Plan("auto", weights, transformer, encoder, False, 0, 0, 0)


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "transformer" / WEIGHTS)


def predicted(parts: Parts) -> torch.Tensor:
    """What the transformer makes of the same noise: a number that every weight is in."""
    torch.manual_seed(0)
    noise, words = torch.randn(1, 3 * 16, 64), torch.randn(1, 5, 32)
    with torch.no_grad():
        return parts.pipe.transformer(
            hidden_states=noise,
            timestep=torch.tensor([0.5]),
            encoder_hidden_states=words,
            img_shapes=[[(1, 4, 4)] * 3],
            additional_t_cond=torch.zeros(1, dtype=torch.long),
            return_dict=False,
        )[0]


@pytest.fixture(scope="module")
def wanted(model: Path) -> torch.Tensor:
    return predicted(running.loaded(model))


def off(parts: Parts, wanted: torch.Tensor) -> float:
    """The mean difference, of the mean size."""
    return float((predicted(parts) - wanted).abs().mean() / wanted.abs().mean())


@pytest.mark.parametrize(("weights", "bound"), [("fp8", 0.05), ("int8", 0.01)])
def test_packed_weights_are_nearly_the_same(model: Path, wanted: torch.Tensor, weights: Weights, bound: float) -> None:
    parts = running.loaded(model, laid_out(weights))
    packed = [each for each in parts.pipe.transformer.modules() if isinstance(each, PackedLinear)]
    assert len(packed) == 3 * (8 + 4 + 2)  # each block's attention, two MLPs and two modulations
    assert 0 < off(parts, wanted) < bound


LAYOUTS: list[tuple[Place, Place]] = [("turns", "turns"), ("device", "blocks"), ("device", "cpu"), ("blocks", "blocks")]


@pytest.mark.parametrize("places", LAYOUTS)
def test_each_layout_gives_the_same(
    model: Path, parts: Parts, picture: Image.Image, places: tuple[Place, Place]
) -> None:
    plain = running.frames(parts, picture)
    other = running.frames(running.loaded(model, laid_out("as they are", *places)), picture)
    assert all(np.array_equal(a, b) for a, b in zip(plain, other, strict=True))


def embedded(parts: Parts) -> torch.Tensor:
    return Reader(parts, lambda: None).embed("a red kite over the sea").embedded


@pytest.mark.parametrize(("weights", "bound"), [("fp8", 0.06), ("int8", 0.02)])
def test_a_packed_text_encoder_says_nearly_the_same(
    model: Path, parts: Parts, weights: Weights, bound: float, tmp_path: Path
) -> None:
    """Also with the names that its tensors were published under."""
    wanted = embedded(parts)
    older = tmp_path / "text_encoder"
    shutil.copytree(model / "text_encoder", older)
    tensors = load_file(older / "model.safetensors")
    named = {
        name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): tensor
        for name, tensor in tensors.items()
    }
    save_file(named, older / "model.safetensors")
    packed = embedded(running.loaded(model, laid_out(weights)))
    assert 0 < float((packed - wanted).abs().mean() / wanted.abs().mean()) < bound
    assert torch.equal(embedded(running.loaded(model, laid_out(weights), text_encoder=older)), packed)


def test_packed_weights_come_block_by_block(model: Path, wanted: torch.Tensor) -> None:
    assert off(running.loaded(model, laid_out("fp8", "blocks", "blocks")), wanted) < 0.05


def test_one_file(model: Path, wanted: torch.Tensor, tmp_path: Path) -> None:
    """As ComfyUI has it, with a prefix before each name."""
    file = tmp_path / "one.safetensors"
    save_file({f"model.diffusion_model.{name}": each for name, each in weights_of(model).items()}, file)
    assert off(running.loaded(model, transformer=file), wanted) == 0


def test_several_files(model: Path, wanted: torch.Tensor, tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    folder.mkdir()
    shutil.copy(model / "transformer" / "config.json", folder)
    names = sorted(weights_of(model))
    index: dict[str, str] = {}
    for number, part in enumerate((names[:40], names[40:]), 1):
        file = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({name: weights_of(model)[name] for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": index}))
    assert off(running.loaded(model, transformer=folder), wanted) == 0


@pytest.mark.parametrize("ending", ["scale_weight", "weight_scale"])
def test_a_file_in_scaled_fp8(model: Path, wanted: torch.Tensor, tmp_path: Path, ending: str) -> None:
    """As ComfyUI has it: a number beside each matrix, and marks of its own."""
    scaled: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for name, tensor in weights_of(model).items():
        if name.startswith("transformer_blocks") and name.endswith(".weight") and tensor.ndim == 2:
            scale = tensor.abs().max() / 448
            scaled[name] = (tensor / scale).to(torch.float8_e4m3fn)
            scaled[name.replace(".weight", f".{ending}")] = scale
        else:
            scaled[name] = tensor
    file = tmp_path / "scaled.safetensors"
    save_file(scaled, file)
    assert 0 < off(running.loaded(model, transformer=file, form="fp8"), wanted) < 0.06


def write_gguf(model: Path, file: Path, *, packed_table: bool, kind: gguf.GGMLQuantizationType) -> Path:
    writer = gguf.GGUFWriter(str(file), "qwen_image")
    for name, tensor in weights_of(model).items():
        values = tensor.float().numpy()
        packs = name.startswith("transformer_blocks") and name.endswith(".weight") and values.ndim == 2
        if packs or (packed_table and name == "time_text_embed.addition_t_embedding.weight"):
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("packed_table", [False, True])
def test_gguf(model: Path, wanted: torch.Tensor, tmp_path: Path, packed_table: bool) -> None:
    """Also where the table that no layer unpacks by itself is packed."""
    kind = gguf.GGMLQuantizationType.Q8_0
    file = write_gguf(model, tmp_path / "q8.gguf", packed_table=packed_table, kind=kind)
    assert 0 < off(running.loaded(model, transformer=file, form="gguf"), wanted) < 0.02


@pytest.mark.parametrize("place", ["turns", "blocks"])
def test_gguf_comes_and_goes(model: Path, tmp_path: Path, place: Place) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0
    file = write_gguf(model, tmp_path / "q8.gguf", packed_table=False, kind=kind)
    there = predicted(running.loaded(model, transformer=file, form="gguf"))
    parts = running.loaded(model, laid_out("as they are", place, place), transformer=file, form="gguf")
    with parts.on_device("transformer"):
        assert off(parts, there) == 0


def write_lora(model: Path, file: Path, *, prefix: str, alpha: float | None) -> dict[str, torch.Tensor]:
    """An adapter of rank 4 for two layers; what it adds to each."""
    torch.manual_seed(4)
    tensors: dict[str, torch.Tensor] = {}
    added: dict[str, torch.Tensor] = {}
    for layer in ("transformer_blocks.0.attn.to_q", "transformer_blocks.2.img_mlp.net.2"):
        out, into = weights_of(model)[f"{layer}.weight"].shape
        down, up = torch.randn(4, into) / 8, torch.randn(out, 4) / 8
        tensors |= {f"{prefix}{layer}.lora_A.weight": down, f"{prefix}{layer}.lora_B.weight": up}
        if alpha is not None:
            tensors[f"{prefix}{layer}.alpha"] = torch.tensor(alpha)
        added[layer] = (alpha or 4) / 4 * up @ down
    save_file(tensors, file)
    return added


@pytest.mark.parametrize("prefix", ["", "transformer.", "base_model.model.", "diffusion_model."])
@pytest.mark.parametrize("alpha", [None, 8.0])
def test_lora(model: Path, wanted: torch.Tensor, tmp_path: Path, prefix: str, alpha: float | None) -> None:
    added = write_lora(model, tmp_path / "lora.safetensors", prefix=prefix, alpha=alpha)
    parts = running.loaded(model, lora=tmp_path / "lora.safetensors")
    for layer, addition in added.items():
        weight = parts.pipe.transformer.get_submodule(layer).weight
        assert torch.allclose(weight, weights_of(model)[f"{layer}.weight"] + addition, atol=1e-6)
    assert off(parts, wanted) > 0.001


def test_lora_beside_gguf_and_in_packed_weights(model: Path, tmp_path: Path) -> None:
    """All ways to have it come to the same."""
    write_lora(model, tmp_path / "lora.safetensors", prefix="", alpha=8.0)
    lora = tmp_path / "lora.safetensors"
    with_lora = predicted(running.loaded(model, lora=lora))
    kind = gguf.GGMLQuantizationType.Q8_0
    file = write_gguf(model, tmp_path / "q8.gguf", packed_table=False, kind=kind)
    assert off(running.loaded(model, transformer=file, form="gguf", lora=lora), with_lora) < 0.02
    assert off(running.loaded(model, laid_out("int8"), lora=lora), with_lora) < 0.01


def test_no_lora(tmp_path: Path) -> None:
    save_file({"some.weight": torch.zeros(2)}, tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="no adapter"):
        Lora(tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_weights_that_are_not_the_model_s(model: Path, tmp_path: Path, damage: str) -> None:
    tensors: dict[str, Any] = weights_of(model)
    name = "transformer_blocks.1.attn.to_v.weight"
    if damage == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name][:8].clone()
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises((KeyError, RuntimeError), match=r"to_v"):
        running.loaded(model, transformer=tmp_path / "bad.safetensors")
