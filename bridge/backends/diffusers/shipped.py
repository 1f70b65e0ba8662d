"""The configurations of a model's components: its own, or those of Qwen-Image-Layered, which come with Unflatten."""

import json
from pathlib import Path
from typing import Any

from bridge.backends.diffusers.library import ModelFiles

CONFIGS = Path(__file__).parent / "configs"


def config_of(files: ModelFiles, component: str) -> dict[str, Any]:
    """The configuration of “transformer”, “text_encoder” or “vae”. Raises OSError and ValueError."""
    return json.loads((folder_of(files, component) / "config.json").read_text("utf-8"))


def shipped(component: str, name: str = "config.json") -> dict[str, Any]:
    """That of Qwen-Image-Layered's own."""
    return json.loads((CONFIGS / component / name).read_text("utf-8"))


def folder_of(files: ModelFiles, component: str) -> Path:
    """The folder that the component's config.json is in."""
    own: Path = {"transformer": files.transformer, "text_encoder": files.text_encoder}.get(component, files.base)
    candidates = (own, files.base / component, CONFIGS / component)
    return next(each for each in candidates if each == candidates[-1] or (each / "config.json").is_file())
