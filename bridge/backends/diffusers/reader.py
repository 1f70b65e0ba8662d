"""The model's text encoder, a vision model, as a reader: it embeds prompts, describes pictures and names layers."""
# pyright: standard, reportMissingImports=false

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import StoppingCriteria, StoppingCriteriaList

from bridge.backends.diffusers.denoise import Words
from bridge.backends.diffusers.loading import Parts
from bridge.backends.diffusers.naming import cut_out, tidy_name

LONGEST_CAPTION = 512
LONGEST_NAME = 16
"""Tokens."""
EYE = "<|image_pad|>"
NAMING = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    f"<|vision_start|>{EYE}<|vision_end|>This was cut out of a picture and laid on grey. Name what it shows in one to "
    "three words, with its colour where that helps to tell it apart. Answer with the name alone.<|im_end|>\n"
    "<|im_start|>assistant\n"
)


class Reader:
    """cancelled: asked at each word."""

    def __init__(self, parts: Parts, checkpoint: Callable[[], None]) -> None:
        self._parts = parts
        self._checkpoint = checkpoint

    @torch.no_grad()
    def embed(self, prompt: str) -> Words:
        """A prompt for the transformer. With the text encoder on the device."""
        self._checkpoint()
        parts = self._parts
        embedded, mask = parts.pipe.encode_prompt(prompt, device=parts.encoder_device)
        return Words(embedded.to(parts.device), mask if mask is None else mask.to(parts.device))

    def describe(self, image: Image.Image) -> str:
        """A caption of the RGBA picture, in English, as the model was trained on."""
        told = self._answer(self._parts.pipe.image_caption_prompt_en, image, LONGEST_CAPTION)
        return " ".join("".join(each if each.isprintable() else " " for each in told).split()).rstrip(".")

    def name(self, layer: NDArray[np.uint8]) -> str:
        """A name for a layer (h, w, 4) uint8 by what it shows; empty where none comes of it."""
        shown = cut_out(layer)
        return "" if shown is None else tidy_name(self._answer(NAMING, shown, LONGEST_NAME))

    @torch.no_grad()
    def _answer(self, question: str, image: Image.Image, most: int) -> str:
        pipe, device = self._parts.pipe, self._parts.encoder_device
        seen = self._parts.vision(images=image.convert("RGB"), return_tensors="pt")
        grid = seen["image_grid_thw"]
        eyes = int(grid[0].prod()) // self._parts.vision.merge_size**2
        asked = pipe.tokenizer(question.replace(EYE, EYE * eyes), return_tensors="pt")
        ids = asked.input_ids
        told = pipe.text_encoder.generate(
            input_ids=ids.to(device),
            attention_mask=asked.attention_mask.to(device),
            mm_token_type_ids=(ids == pipe.text_encoder.config.image_token_id).int().to(device),
            pixel_values=seen["pixel_values"].to(device, self._parts.dtype),
            image_grid_thw=grid.to(device),
            max_new_tokens=most,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([_Asked(self._checkpoint)]),
        )
        return pipe.tokenizer.decode(told[0, ids.shape[1] :], skip_special_tokens=True).strip()


class _Asked(StoppingCriteria):
    def __init__(self, checkpoint: Callable[[], None]) -> None:
        self._checkpoint = checkpoint

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        self._checkpoint()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
