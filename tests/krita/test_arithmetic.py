"""Our compositor against Krita's: random stacks, laid over each other by both."""

from pathlib import Path

import numpy as np
import pytest

from bridge.finish.flatten import flatten
from bridge.picture import Layer, Model, Stack
from tests.krita.window import Krita
from tests.unit.finish.spaces import SPACES, form_of, random_pixels

WIDTH, HEIGHT = 640, 480
MANY = [k / 64 for k in range(65)]
# Fused products are what processors since about 2013 compute; others may round a few pixels otherwise.
SLACK = {"U8": 0, "U16": 1, "F16": 1e-3, "F32": 1e-5}


@pytest.mark.parametrize(("model", "depth"), SPACES)
def test_random_stacks_flatten_as_in_krita(krita: Krita, tmp_path: Path, model: Model, depth: str) -> None:
    form, rng = form_of(model, depth), np.random.default_rng(11)
    layers = [random_pixels(rng, form, HEIGHT, WIDTH, [1.0] if k == 0 else MANY) for k in range(5)]
    files = []
    for number, pixels in enumerate(layers):
        turned = pixels[..., [2, 1, 0, 3]] if model == "RGBA" and form.integer else pixels
        files.append(str(tmp_path / f"layer{number}"))
        Path(files[-1]).write_bytes(np.ascontiguousarray(turned).tobytes())
    krita.create_document(name="Stack", width=WIDTH, height=HEIGHT, model=model, depth=depth)
    krita.add_layers(name="Stack", paths=files)
    krita.projection(name="Stack", path=str(tmp_path / "projection"))
    seen = np.fromfile(tmp_path / "projection", form.dtype).reshape(HEIGHT, WIDTH, -1)
    if model == "RGBA" and form.integer:
        seen = seen[..., [2, 1, 0, 3]]

    ours = flatten(Stack(tuple(Layer("", pixels) for pixels in layers), WIDTH, HEIGHT), form)

    off = np.abs(ours.astype(np.float64) - seen.astype(np.float64)) / np.maximum(
        1, form.high if not form.integer else 1
    )
    print(f"{model} {depth}: largest difference {off.max():g}, identical {(off.max(-1) == 0).mean():.6%}")
    assert off.max() <= SLACK[depth]
    assert (off.max(-1) == 0).mean() > (0.5 if depth == "F32" else 0.999)
