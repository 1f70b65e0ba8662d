"""From a picture to the model's latents, and from latents back to frames.

As diffusers' QwenImageLayeredPipeline does it, in the same order and types, so that the numbers are the same; but frame
by frame, and with the composite, which that pipeline throws away.
"""
# pyright: standard, reportMissingImports=false

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bridge.backends.diffusers.geometry import frame_size
from bridge.backends.diffusers.loading import Parts

Frame = NDArray[np.uint8]
PREVIEW = 160
"""Pixels of a preview's longer side."""


@dataclass(frozen=True)
class Prepared:
    """A picture at the model's size. image: RGBA. latents: of pure noise, packed (1, tokens, 64); condition: the
    picture's own, packed; shapes: for the rotary embedding."""

    image: Image.Image
    width: int
    height: int
    layers: int
    latents: torch.Tensor
    condition: torch.Tensor
    shapes: list[list[tuple[int, int, int]]]


def fit_to_model(view: Frame, resolution: int) -> Image.Image:
    """The picture (h, w, 4) uint8 sRGB at the model's size, RGBA."""
    width, height = frame_size(view.shape[1], view.shape[0], resolution)
    return Image.fromarray(view).resize((width, height), Image.Resampling.LANCZOS)


@torch.no_grad()
def prepare(parts: Parts, image: Image.Image, layers: int, seed: int) -> Prepared:
    """The picture's latents, and noise for `layers` layers and their composite, drawn on the processor so that a seed
    means the same on every device."""
    pipe = parts.pipe
    width, height = image.size
    pixels = pipe.image_processor.preprocess(image, height, width).unsqueeze(2).to(parts.dtype)
    latents, condition = pipe.prepare_latents(
        pixels,
        1,
        pipe.transformer.config.in_channels // 4,
        height,
        width,
        layers,
        parts.dtype,
        parts.device,
        torch.Generator().manual_seed(seed),
    )
    side = pipe.vae_scale_factor * 2
    shapes = [[(1, height // side, width // side)] * (layers + 2)]
    return Prepared(image, width, height, layers, latents, condition, shapes)


@torch.no_grad()
def drawn(
    parts: Parts, prepared: Prepared, latents: torch.Tensor, first: int = 0
) -> Generator[NDArray[np.floating[Any]]]:
    """The frames (h, w, 4), straight RGBA of 0–1, one by one, from number `first` on; 0 is the composite, then back to
    front."""
    pipe: Any = parts.pipe
    unpacked = pipe._unpack_latents(
        latents, prepared.height, prepared.width, prepared.layers, pipe.vae_scale_factor
    ).to(pipe.vae.dtype)
    mean, std = (_of_latents(pipe, name, unpacked) for name in ("latents_mean", "latents_std"))
    scaled = unpacked * std + mean
    for number in range(first, prepared.layers + 1):
        decoded = pipe.vae.decode(scaled[:, :, number : number + 1], return_dict=False)[0].squeeze(2)
        yield pipe.image_processor.postprocess(decoded, output_type="np")[0]


def decode(parts: Parts, prepared: Prepared, latents: torch.Tensor, first: int = 0) -> Generator[Frame]:
    """The same as bytes."""
    for frame in drawn(parts, prepared, latents, first):
        yield to_bytes(frame)


def to_bytes(frame: NDArray[np.floating[Any]]) -> Frame:
    """Of a frame (h, w, 4) of 0–1."""
    return np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8)


def small(frame: Frame) -> Frame:
    """A frame's preview: its longer side at most `PREVIEW` pixels."""
    height, width = frame.shape[:2]
    share = min(1.0, PREVIEW / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


def _of_latents(pipe: Any, name: str, like: torch.Tensor) -> torch.Tensor:
    numbers = torch.tensor(getattr(pipe.vae.config, name))
    return numbers.view(1, pipe.vae.config.z_dim, 1, 1, 1).to(like.device, like.dtype)
