"""A whole Qwen-Image-Layered of 1 MB with random weights: every component, as diffusers saves and loads it.

From a terminal: python -m tests.gpu.tiny FOLDER
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageLayeredPipeline,
    QwenImageTransformer2DModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

WIDTH = 32
"""Of the text encoder, and of the transformer's two heads of 16 together."""
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, VISION_PAD = "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"
IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
SPECIAL = (END, START, STOP, VISION_START, VISION_END, VISION_PAD, IMAGE, VIDEO)
TRANSFORMER: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 6, 6),
    "guidance_embeds": False,
    "use_additional_t_cond": True,
    "use_layer3d_rope": True,
}
SCHEDULER: dict[str, Any] = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_shift": 0.9,
    "max_image_seq_len": 8192,
    "shift": 1.0,
    "shift_terminal": False,
    "time_shift_type": "linear",
    "use_dynamic_shifting": True,
}


def save(folder: Path, *, seed: int = 0, **transformer: Any) -> Path:
    """Save one in `folder`, which is returned. transformer: what of its config shall be otherwise."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    pipeline = QwenImageLayeredPipeline(
        text_encoder=Qwen2_5_VLForConditionalGeneration(text_encoder_config(tokenizer)).eval(),
        tokenizer=tokenizer,
        processor=None,  # transformers makes one only with torchvision, which is not installed
        transformer=QwenImageTransformer2DModel(**{**TRANSFORMER, **transformer}),
        vae=make_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
    )
    pipeline.save_pretrained(folder)
    return folder


def make_tokenizer() -> Any:
    """One token for each byte, and the special ones."""
    vocabulary = {letter: number for number, letter in enumerate([*sorted(ByteLevel.alphabet()), *SPECIAL])}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", "utf-8")
        return Qwen2Tokenizer.from_pretrained(
            folder, eos_token=STOP, pad_token=END, unk_token=END, additional_special_tokens=list(SPECIAL[1:])
        )


def text_encoder_config(tokenizer: Any) -> Any:
    number = tokenizer.convert_tokens_to_ids
    language = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32768,
        "rope_theta": 1e6,
        "rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"},
        "bos_token_id": number(END),
        "eos_token_id": number(STOP),
        "pad_token_id": number(END),
    }
    vision = {
        "depth": 2,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_heads": 2,
        "out_hidden_size": WIDTH,
        "fullatt_block_indexes": [1],
    }
    return Qwen2_5_VLConfig(
        text_config=language,
        vision_config=vision,
        image_token_id=number(IMAGE),
        video_token_id=number(VIDEO),
        vision_start_token_id=number(VISION_START),
        vision_end_token_id=number(VISION_END),
        vision_token_id=number(VISION_PAD),
    )


def make_vae() -> Any:
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        input_channels=4,
        latents_mean=[0.0] * 16,
        latents_std=[1.0] * 16,
    )


if __name__ == "__main__":
    save(Path(sys.argv[1]))
