"""What a model needs for a picture, from its files and configurations, and how it would do on this computer."""

from collections.abc import Mapping

from bridge.backends.diffusers import environment, sizes
from bridge.backends.diffusers.library import ModelFiles
from bridge.backends.diffusers.machine import guess
from bridge.backends.diffusers.plan import GB, Machine, Need, Plan, Refusal, choose
from bridge.backends.diffusers.shipped import config_of, shipped

HALF = 2
"""Bytes of a number as a graphics card computes with it."""
USUAL = (640, 640, 4)
"""Width, height and layers by which models are compared."""
VAE_GB = 0.25
HARDLY_SLOWER = 0.35
"""Seconds of a step."""
HOW = {"device": "whole", "turns": "by turns with the text encoder", "blocks": "block by block, slowly"}


def need_of(files: ModelFiles, width: int, height: int, layers: int, item: int = HALF) -> Need:
    """What a picture of that size needs with that model. item: bytes of a number as it is computed with."""
    transformer, encoder = config_of(files, "transformer"), config_of(files, "text_encoder")
    packed = files.form != "bf16"
    whole = files.transformer_bytes if packed else sizes.transformer_weights(transformer) * item
    return Need(
        transformer=whole,
        encoder=files.text_encoder_bytes if files.form == "bnb4" else sizes.encoder_weights(encoder) * item,
        vae=sum(file.stat().st_size for file in (files.base / "vae").glob("*.safetensors")),
        block=whole // max(transformer["num_layers"], 1),
        step=sizes.step_bytes(transformer, sizes.tokens(width, height, layers), item),
        decode=sizes.decode_bytes(config_of(files, "vae"), width, height, item),
        packed=packed,
        encoder_packed=0 if files.form == "bnb4" else sizes.packed_encoder_bytes(encoder, item),
        through_ram=whole if files.form == "gguf" else 0,
        in_parts=files.form != "bnb4",
    )


def usual_need(form: str, transformer: float, encoder: float) -> Need:
    """What Qwen-Image-Layered needs for the usual picture, in a form whose weights have so many GB."""
    config, vae = shipped("transformer"), shipped("vae")
    width, height, layers = USUAL
    return Need(
        transformer=int(transformer * GB),
        encoder=int(encoder * GB),
        vae=int(VAE_GB * GB),
        block=int(transformer * GB) // config["num_layers"],
        step=sizes.step_bytes(config, sizes.tokens(width, height, layers), HALF),
        decode=sizes.decode_bytes(vae, width, height, HALF),
        packed=form != "bf16",
        encoder_packed=0 if form == "bnb4" else sizes.packed_encoder_bytes(shipped("text_encoder"), HALF),
        through_ram=int(transformer * GB) if form == "gguf" else 0,
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


def fits(form: str, transformer: float, encoder: float) -> str:
    """How a model whose weights have so many GB would do here, in a few words; empty where that cannot be told."""
    machine = guess(environment.accelerator())
    if machine is None:
        return ""
    chosen: Plan | Refusal = choose(machine, usual_need(form, transformer, encoder))
    if isinstance(chosen, Refusal):
        return "does not fit now"
    kept = "" if chosen.weights == "as they are" else f" in {chosen.weights}"
    return f"fits{kept}, {HOW[chosen.transformer]}"
