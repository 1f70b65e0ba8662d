"""A whole Qwen-Image-Layered of 1 MB whose weights are set by hand, so that its layers look like layers.

The transformer's attention averages the noise around each token within its own frame (queries and keys are one constant
vector, of which the rotary embedding leaves only the distance), and what comes out differs from the noise by that
average: one step ends at smooth blobs, others in each frame, the same for every picture. The decoder only enlarges
them, and makes alpha steep. A picture that is laid together from these layers is split into them again.

From a terminal: python -m tests.gpu.painter FOLDER [PICTURE.png], which also lays such a picture together.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from PIL import Image

from tests.gpu import tiny

STRENGTH = 24.0
"""What the average is multiplied by: it has a 16th of the noise's spread."""
SPREAD = 0.06
NEAR = 7.5
"""How steeply attention falls off with the distance, and …"""
OWN_FRAME = 3.9
"""… between frames."""
STEEP = (0.5, 0.5, 0.5, 4.0)
"""Spread of the channels of a frame, of which −1 to 1 is shown."""
HEADS = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 3}


def save(folder: Path) -> Path:
    """Save one in `folder`, which is returned."""
    tiny.save(folder, **HEADS)
    transformer: Any = QwenImageTransformer2DModel.from_pretrained(folder / "transformer")
    average_noise(transformer)
    transformer.save_pretrained(folder / "transformer")
    vae: Any = AutoencoderKLQwenImage.from_pretrained(folder / "vae")
    only_enlarge(vae)
    vae.save_pretrained(folder / "vae")
    return folder


@torch.no_grad()
def average_noise(transformer: Any) -> None:
    width = transformer.inner_dim
    same, mean = torch.eye(width), torch.kron(torch.eye(width // 4), torch.full((4, 4), 0.25))
    _set(transformer.img_in, same)
    for number, block in enumerate(transformer.transformer_blocks):
        _set(block.img_mod[1])
        if number == 0:  # the others add nothing
            block.img_mod[1].bias[2 * width : 3 * width] = 1
        attention = block.attn
        for projection, norm in ((attention.to_q, attention.norm_q), (attention.to_k, attention.norm_k)):
            _set(projection)
            projection.bias.view(attention.heads, -1)[:, [0, 6, 12]] = 1
            norm.weight.zero_()
            norm.weight[0], norm.weight[[6, 12]] = OWN_FRAME, NEAR
        attention.norm_added_k.weight.zero_()
        _set(attention.to_v, mean)
        _set(attention.to_out[0], -STRENGTH * same)
    _set(transformer.norm_out.linear)
    _set(transformer.proj_out, same * (1 + (SPREAD * STRENGTH) ** 2) ** 0.5)


@torch.no_grad()
def only_enlarge(vae: Any) -> None:
    for module in vae.decoder.modules():
        kind = type(module).__name__
        if kind == "QwenImageResidualBlock":
            _set(module.conv2)
        elif kind == "QwenImageAttentionBlock":
            _set(module.proj)
        elif kind == "QwenImageResample":
            for layer in module.resample:
                if isinstance(layer, torch.nn.Conv2d):
                    _set(layer)
                    for out in range(layer.out_channels):
                        layer.weight[out, out % layer.in_channels] = 1 / 9
    smooth = torch.nn.functional.interpolate(torch.randn(3, 16, 8, 8), size=(40, 40), mode="bicubic")
    shown = torch.cat([vae.decode(each[None, :, None], return_dict=False)[0] for each in smooth])
    last, axes = vae.decoder.conv_out, (0, 2, 3, 4)
    gain = torch.tensor(STEEP) / shown.std(axes)
    last.bias.copy_((last.bias - shown.mean(axes)) * gain)
    last.weight.mul_(gain.view(4, 1, 1, 1, 1))


def _set(layer: Any, weight: torch.Tensor | None = None) -> None:
    layer.bias.zero_()
    if weight is None:
        layer.weight.zero_()
    else:
        layer.weight.copy_(weight)


def lay_together(layers: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The opaque picture (h, w, 3) uint8 that layers (h, w, 4) uint8 make on white."""
    flat = np.full((*layers[0].shape[:2], 3), 255.0)
    for layer in layers:
        share = layer[..., 3:] / 255
        flat = flat * (1 - share) + layer[..., :3] * share
    return flat.round().astype(np.uint8)


def paint(folder: Path, *, layers: int, steps: int, seed: int) -> np.ndarray[Any, Any]:
    """A picture of 640 × 640 that the model in `folder` splits into those layers with the same steps and seed."""
    from tests.gpu import running

    grey = Image.new("RGBA", (640, 640), (128, 128, 128, 255))
    frames = running.frames(running.loaded(folder), grey, layers=layers, steps=steps, seed=seed, scale=1.0)
    return lay_together(frames)


if __name__ == "__main__":
    made = save(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        Image.fromarray(paint(made, layers=2, steps=1, seed=1)).save(sys.argv[2])
