"""What a model needs for a picture, from its files and configurations, and how it would do on this computer."""

from collections.abc import Mapping
from typing import Any

from bridge.backends.diffusers import sizes
from bridge.backends.diffusers.library import ModelFiles
from bridge.backends.diffusers.plan import GB, Machine, Need, Plan, Refusal, choose
from bridge.backends.diffusers.shipped import config_of, shipped

HALF = 2
"""Bytes of a number as a graphics card computes with it."""
USUAL = (640, 640, 4)
"""Width, height and layers by which models are compared."""
VAE_GB = 0.25
PARTS = ("transformer", "text_encoder", "vae")
HARDLY_SLOWER = 0.35
"""Seconds of a step."""
HOW = {"device": "whole", "turns": "by turns with the text encoder", "blocks": "block by block, slowly"}


def need_of(files: ModelFiles, width: int, height: int, layers: int, item: int = HALF) -> Need:
    """What a picture of that size needs with that model. item: bytes of a number as it is computed with."""
    configs = {part: config_of(files, part) for part in PARTS}
    transformer, encoder = files.transformer_bytes, files.text_encoder_bytes
    if files.form == "bf16":  # on the disk it may be in another type than it is computed with
        transformer = sizes.transformer_weights(configs["transformer"]) * item
    if files.form != "bnb4":
        encoder = sizes.encoder_weights(configs["text_encoder"]) * item
    vae = sum(file.stat().st_size for file in (files.base / "vae").glob("*.safetensors"))
    return _need(files.form, (transformer, encoder, vae), configs, (width, height, layers), item)


def usual_need(form: str, transformer: float, encoder: float) -> Need:
    """What Qwen-Image-Layered needs for the usual picture, in a form whose weights have so many GB."""
    weights = int(transformer * GB), int(encoder * GB), int(VAE_GB * GB)
    return _need(form, weights, {part: shipped(part) for part in PARTS}, USUAL, HALF)


def _need(
    form: str, weights: tuple[int, int, int], configs: Mapping[str, Any], picture: tuple[int, int, int], item: int
) -> Need:
    """weights: bytes of transformer, text encoder and VAE. picture: width, height and layers."""
    transformer, encoder, vae = weights
    width, height, layers = picture
    return Need(
        transformer=transformer,
        encoder=encoder,
        vae=vae,
        block=transformer // max(configs["transformer"]["num_layers"], 1),
        step=sizes.step_bytes(configs["transformer"], sizes.tokens(width, height, layers), item),
        decode=sizes.decode_bytes(configs["vae"], width, height, item),
        packed=form != "bf16",
        encoder_packed=0 if form == "bnb4" else sizes.packed_encoder_bytes(configs["text_encoder"], item),
        through_ram=transformer if form == "gguf" else 0,
        in_parts=form != "bnb4",
    )


def best_of(candidates: Mapping[str, tuple[str, float, float]], machine: Machine) -> str:
    """The name of the one that suits the machine best; empty where none fits.

    candidates: form, GB of the transformer and GB of the text encoder by name. The largest, which is the most faithful,
    of those that are hardly slower than with everything on the card, or else the quickest.
    """
    found: dict[str, float] = {}
    for name, (form, transformer, encoder) in sorted(candidates.items(), key=lambda each: -each[1][1]):
        chosen = choose(machine, usual_need(form, transformer, encoder))
        if isinstance(chosen, Plan):
            if chosen.slower <= HARDLY_SLOWER:
                return name
            found[name] = chosen.slower
    return min(found, key=lambda name: found[name], default="")


def fits(machine: Machine, form: str, transformer: float, encoder: float) -> str:
    """How a model whose weights have so many GB would do there, in a few words."""
    chosen: Plan | Refusal = choose(machine, usual_need(form, transformer, encoder))
    if isinstance(chosen, Refusal):
        return "does not fit now"
    kept = "" if chosen.weights == "as they are" else f" in {chosen.weights}"
    return f"fits{kept}, {HOW[chosen.transformer]}"
