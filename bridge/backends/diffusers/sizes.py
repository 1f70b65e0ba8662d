"""How much memory the model's components take, computed from their own configurations: no weights are read for it."""

from collections.abc import Mapping
from typing import Any

MERGED = 2
"""Patches of 14 × 14 pixels that the vision tower merges, along each side."""
TOKEN = 16
"""Pixels of a side that one token of the transformer stands for: 8 in the VAE, 2 patched."""
TEXT_TOKENS = 512
"""Tokens of a long caption."""
LIVE = 24
"""Activations of a token's width that a block holds at its widest (queries, keys and values of both streams, the
fourfold middle of the MLP, 32-bit copies in the norms), by counting; an attention that writes no matrix is assumed."""
DECODER_LIVE = 10
"""The same for the VAE's last stage, of its own width, a pixel each."""


def transformer_weights(config: Mapping[str, Any]) -> int:
    """Weights of a QwenImageTransformer2DModel of that configuration, as diffusers 0.42 builds it."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    linear = width * width + width
    modulation = 2 * (width * 6 * width + 6 * width)
    attention = 8 * linear + 4 * config["attention_head_dim"]
    mlp = 2 * (width * 4 * width + 4 * width + 4 * width * width + width)
    time = 256 * width + width + linear + (2 * width if config.get("use_additional_t_cond") else 0)
    text = config["joint_attention_dim"] * (width + 1) + width
    out = 4 * config["out_channels"]
    ends = config["in_channels"] * width + width + width * 2 * width + 2 * width + width * out + out
    return config["num_layers"] * (modulation + attention + mlp) + time + text + ends


def block_weights(config: Mapping[str, Any]) -> int:
    """Weights of one of its blocks."""
    return transformer_weights(config) // max(config["num_layers"], 1)


def encoder_weights(config: Mapping[str, Any]) -> int:
    """Weights of a Qwen2.5-VL of that configuration: the language model, its vision tower, its embeddings."""
    text, vision = config.get("text_config", config), config["vision_config"]
    width, middle = text["hidden_size"], text["intermediate_size"]
    keys = width // text["num_attention_heads"] * text["num_key_value_heads"]
    attention = (width * width + width) + 2 * (width * keys + keys) + width * width
    layer = attention + 3 * width * middle + 2 * width
    tables = text["vocab_size"] * width * (1 if config.get("tie_word_embeddings") else 2)
    return text["num_hidden_layers"] * layer + tables + width + _vision_weights(vision)


def packed_encoder_bytes(config: Mapping[str, Any], item: int) -> int:
    """Bytes of it with its layers in 8 bits, and its tables of words as they are."""
    text = config.get("text_config", config)
    tables = text["vocab_size"] * text["hidden_size"] * (1 if config.get("tie_word_embeddings") else 2)
    return tables * item + encoder_weights(config) - tables


def _vision_weights(vision: Mapping[str, Any]) -> int:
    width, middle = vision["hidden_size"], vision["intermediate_size"]
    patch = vision.get("in_channels", 3) * vision.get("temporal_patch_size", 2) * vision.get("patch_size", 14) ** 2
    block = 4 * (width * width + width) + 3 * width * middle + 2 * middle + width + 2 * width
    merged = width * MERGED**2
    merger = width + merged * merged + merged + merged * vision["out_hidden_size"] + vision["out_hidden_size"]
    return patch * width + vision["depth"] * block + merger


def tokens(width: int, height: int, layers: int) -> int:
    """Tokens of a pass: the frames of the layers, of their composite and of the picture itself, and the text."""
    return (layers + 2) * (width // TOKEN) * (height // TOKEN) + TEXT_TOKENS


def step_bytes(config: Mapping[str, Any], count: int, item: int) -> int:
    """Bytes that a pass of `count` tokens takes beside the weights; item: bytes of a number."""
    return count * config["num_attention_heads"] * config["attention_head_dim"] * item * LIVE


def decode_bytes(config: Mapping[str, Any], width: int, height: int, item: int) -> int:
    """Bytes that decoding one frame of width × height pixels takes beside the VAE's weights."""
    return width * height * config["base_dim"] * item * DECODER_LIVE
