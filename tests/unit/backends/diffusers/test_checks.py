"""Which weights are taken, in which form, and which are refused with what sentence."""

import json
from pathlib import Path

import pytest

from bridge.backends.diffusers import checks
from bridge.backends.diffusers.checks import EXTRA_TIME, Shape
from bridge.backends.diffusers.headers import BadModel, Tensor
from tests.unit.backends.diffusers import weights

SHAPE = Shape.of(weights.CONFIG)


def check(tmp_path: Path, tensors: dict[str, Tensor]) -> checks.Checked:
    return checks.single_file(weights.safetensors(tmp_path / "a.safetensors", tensors), SHAPE)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "transformer."])
def test_a_transformer_in_one_file(tmp_path: Path, prefix: str) -> None:
    assert check(tmp_path, weights.transformer(prefix=prefix)) == checks.Checked("bf16")


def test_8_bits_as_comfyui_saves_them(tmp_path: Path) -> None:
    mixed = {**weights.transformer(), "transformer_blocks.0.attn.to_q.weight": Tensor("F8_E4M3", (32, 32))}
    assert check(tmp_path, mixed).form == "fp8"
    scaled = {**mixed, "transformer_blocks.0.attn.to_q.weight_scale": Tensor("F32", (1,))}
    assert check(tmp_path, scaled).form == "fp8"
    named = {**mixed, "transformer_blocks.0.attn.to_q.comfy_quant": Tensor("U8", (20,))}
    assert check(tmp_path, named).form == "fp8"


def test_gguf(tmp_path: Path) -> None:
    path = weights.gguf(tmp_path / "a.gguf", weights.transformer("F16"))
    assert checks.single_file(path, SHAPE) == checks.Checked("gguf")


def test_gguf_whose_extra_embedding_is_quantised_is_taken_with_a_note(tmp_path: Path) -> None:
    tensors = {**weights.transformer("F16"), EXTRA_TIME: Tensor("Q8_0", (2, 32))}
    found = checks.single_file(weights.gguf(tmp_path / "a.gguf", tensors), SHAPE)
    assert found.form == "gguf" and found.notes == (checks.DEQUANTISED,)


def test_an_adapter(tmp_path: Path) -> None:
    assert check(tmp_path, weights.lora()).form == "lora"


@pytest.mark.parametrize(
    "tensors",
    [
        weights.lora(inner=48),
        weights.lora(layers=9),
        {"unet.lora_A.weight": Tensor("F32", (4, 4))},
        {"lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight": Tensor("F32", (4, 32))},
    ],
)
def test_an_adapter_to_another_model(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    with pytest.raises(BadModel, match="to another model"):
        check(tmp_path, tensors)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({EXTRA_TIME: None}, "not the model that makes layers"),
        ({"transformer_blocks.0.attn.add_k_proj.weight": None}, "of another kind"),
        ({"img_in.weight": Tensor("BF16", (48, 64))}, "of another size"),
        ({"txt_in.weight": Tensor("BF16", (32, 3))}, "of another size"),
        (
            {"transformer_blocks.2.attn.add_k_proj.weight": Tensor("BF16", (32, 32))},
            "has 3 blocks, and the model has 2",
        ),
        ({"transformer_blocks.0.attn.to_q.weight": Tensor("I8", (32, 32))}, "of a kind .I8. that cannot be loaded"),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, changed: dict[str, Tensor | None], told: str) -> None:
    tensors = {name: each for name, each in {**weights.transformer(), **changed}.items() if each}
    with pytest.raises(BadModel, match=told):
        check(tmp_path, tensors)


def test_without_a_base_the_published_shape_is_asked_for(tmp_path: Path) -> None:
    published = checks.shape_in(None)
    assert published == Shape(layers=60, inner=3072, channels=64, text=3584)
    with pytest.raises(BadModel, match="has 2 blocks, and the model has 60"):
        checks.single_file(weights.safetensors(tmp_path / "a.safetensors", weights.transformer()), published)


def test_a_whole_folder(tmp_path: Path) -> None:
    assert checks.folder(weights.whole(tmp_path / "model")).form == "bf16"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda model: (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'), "FluxPipeline"),
        (lambda model: (model / "model_index.json").write_text("{"), "it is no JSON"),
        (lambda model: (model / "model_index.json").unlink(), "no whole model"),
        (lambda model: (model / "vae" / "config.json").unlink(), "lacks vae/config.json"),
        (lambda model: (model / "vae" / "model.safetensors").unlink(), "lacks its weights"),
        (lambda model: (model / "text_encoder" / "model.safetensors").write_bytes(b"none"), "damaged"),
        (lambda model: (model / "tokenizer" / "tokenizer.json").unlink(), "lacks its tokenizer"),
        (lambda model: (model / "transformer" / "config.json").write_text("{}"), "is not the transformer"),
        (
            lambda model: (model / "transformer" / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
            ),
            "lacks model-00001-of-00002.safetensors",
        ),
    ],
)
def test_a_folder_that_is_not_whole(tmp_path: Path, spoil, told: str) -> None:
    model = weights.whole(tmp_path / "model")
    spoil(model)
    with pytest.raises(BadModel, match=told):
        checks.folder(model)


def test_a_transformer_of_4_bits(tmp_path: Path) -> None:
    folder = tmp_path / "bnb"
    weights.safetensors(folder / "model.safetensors", weights.transformer("U8"))
    quantisation = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    config = {**weights.CONFIG, "quantization_config": quantisation}
    (folder / "config.json").write_text(json.dumps(config))
    assert checks.transformer_folder(folder).form == "bnb4"
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "other"}}))
    with pytest.raises(BadModel, match="packed in a way"):
        checks.transformer_folder(folder)
