"""The model's steps from noise to layers, one by one, so that each can be told, looked at and cancelled.

The same computation as the loop of diffusers' QwenImageLayeredPipeline (0.42); `tests/gpu` holds the two together.
"""
# pyright: standard, reportMissingImports=false

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bridge.backends.diffusers.frames import Prepared
from bridge.backends.diffusers.loading import Parts

BASE_TOKENS = 256 * 256 / 16 / 16
"""Tokens of the picture for which the schedule is not shifted."""


@dataclass(frozen=True)
class Words:
    """A prompt as the text encoder gives it: (1, tokens, width) and which of the tokens count; None: all."""

    embedded: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True)
class Guidance:
    """scale: how much further than without the prompt; until: the share of the steps that have it; normalised: the
    result keeps the length that the prompt's own has."""

    scale: float
    until: float = 1.0
    normalised: bool = True


@dataclass(frozen=True)
class Step:
    """Step `number` of `count` is done. latents: now; guessed: where they would end if all went on like this."""

    number: int
    count: int
    latents: torch.Tensor
    guessed: torch.Tensor


@torch.no_grad()
def denoise(
    parts: Parts,
    prepared: Prepared,
    prompt: Words,
    negative: Words | None,
    guidance: Guidance,
    steps: int,
    checkpoint: Callable[[], None],
) -> Generator[Step]:
    """The steps. checkpoint: raises where the user has cancelled; asked at least once a block of the transformer.

    negative: None where nothing is guided.
    """
    pipe: Any = parts.pipe
    transformer, scheduler = pipe.transformer, pipe.scheduler
    latents, condition = prepared.latents, prepared.condition
    sigmas = np.linspace(1.0, 0, steps + 1)[:-1]
    scheduler.set_timesteps(sigmas=sigmas, device=parts.device, mu=(condition.shape[1] / BASE_TOKENS) ** 0.5)
    scheduler.set_begin_index(0)
    of_rgba = torch.zeros(1, device=parts.device, dtype=torch.long)
    count = latents.shape[1]

    def predicted(words: Words, context: str, inputs: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        checkpoint()
        with transformer.cache_context(context):
            return transformer(
                hidden_states=inputs,
                timestep=time / 1000,
                guidance=None,
                encoder_hidden_states_mask=words.mask,
                encoder_hidden_states=words.embedded,
                img_shapes=prepared.shapes,
                attention_kwargs={},
                additional_t_cond=of_rgba,
                return_dict=False,
            )[0][:, :count]

    with _asking(transformer, checkpoint):
        for number, timestep in enumerate(scheduler.timesteps):
            inputs = torch.cat([latents, condition], dim=1)
            time = timestep.expand(1).to(latents.dtype)
            velocity = predicted(prompt, "cond", inputs, time)
            if negative is not None and number < guidance.until * steps:
                away = predicted(negative, "uncond", inputs, time)
                velocity = guide(velocity, away, guidance)
            guessed = latents - scheduler.sigmas[number].to(latents.device, latents.dtype) * velocity
            dtype = latents.dtype
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0].to(dtype)
            yield Step(number + 1, steps, latents, guessed)


def guide(towards: torch.Tensor, away: torch.Tensor, guidance: Guidance) -> torch.Tensor:
    """Classifier-free guidance (Ho and Salimans, 2022)."""
    combined = away + guidance.scale * (towards - away)
    if not guidance.normalised:
        return combined
    return combined * (torch.norm(towards, dim=-1, keepdim=True) / torch.norm(combined, dim=-1, keepdim=True))


@contextmanager
def _asking(transformer: Any, checkpoint: Callable[[], None]) -> Generator[None]:
    """Ask before each block: on a slow card a single step takes seconds."""

    def ask(*_: object) -> None:
        checkpoint()

    compiled = any(getattr(block, "_compiled_call_impl", None) for block in transformer.transformer_blocks)
    hooks = [] if compiled else [block.register_forward_pre_hook(ask) for block in transformer.transformer_blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
