"""A whole Qwen-Image-Layered of 1 MB whose weights are set by hand, so that its layers look like layers.

The transformer's attention averages the noise around each token within its own frame (queries and keys are one constant
vector, of which the rotary embedding leaves only the distance), and what comes out differs from the noise by that
average: the steps end at smooth blobs, others in each frame. The decoder only enlarges them, makes alpha steep, and
colours faint, all near grey: whatever the seed, the layers show a grey picture.

From a terminal: python -m tests.gpu.painter FOLDER
"""

import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import QwenImageTransformer2DModel

from tests.gpu import tiny

STRENGTH = 24.0
"""What the average is multiplied by: it has a 16th of the noise's spread."""
SPREAD = 0.06
NEAR = 5.3
"""How steeply attention falls off with the distance, and …"""
OWN_FRAME = 2.76
"""… between frames."""
SPREADS = (0.05, 0.05, 0.05, 4.0)
"""Of the channels of a frame, of which −1 to 1 is shown."""
ONE_HEAD = {"num_attention_heads": 1, "attention_head_dim": 64, "axes_dims_rope": (16, 24, 24), "num_layers": 2}
DISTANCES = [0, 24, 48]
"""Of the head's numbers, those turned by the distance between frames, rows and columns: by 1 radian a frame, and by
1/21 a row or column."""


def save(folder: Path) -> Path:
    """Save one in `folder`, which is returned."""
    tiny.save(folder, **ONE_HEAD)
    transformer: Any = QwenImageTransformer2DModel.from_pretrained(folder / "transformer")
    average_noise(transformer)
    transformer.save_pretrained(folder / "transformer")
    vae = tiny.make_vae(base_dim=4)
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
            projection.bias.view(attention.heads, -1)[:, DISTANCES] = 1
            norm.weight.zero_()
            norm.weight[DISTANCES] = torch.tensor([OWN_FRAME, NEAR, NEAR])
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
    gain = torch.tensor(SPREADS) / shown.std(axes)
    last.bias.copy_((last.bias - shown.mean(axes)) * gain)
    last.weight.mul_(gain.view(4, 1, 1, 1, 1))


def _set(layer: Any, weight: torch.Tensor | None = None) -> None:
    layer.bias.zero_()
    if weight is None:
        layer.weight.zero_()
    else:
        layer.weight.copy_(weight)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
