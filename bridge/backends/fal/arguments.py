"""The endpoint's arguments: the settings by its page's own names."""

from bridge.settings import Settings

LAYERS = 4
"""The page's own default, where the user leaves the number open."""


def layers_asked(settings: Settings) -> int:
    """How many layers fal is asked for."""
    return LAYERS if settings.num_layers == "auto" else settings.num_layers


def arguments(settings: Settings, image: str, seed: int) -> dict[str, object]:
    """The endpoint's input. image: its URL. seed: always named, so that a result can be told from another's."""
    told: dict[str, object] = {
        "image_url": image,
        "num_layers": layers_asked(settings),
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "seed": seed,
        "acceleration": settings.acceleration,
        "enable_safety_checker": settings.enable_safety_checker,
        "output_format": settings.output_format,
        "sync_mode": settings.sync_mode,
        "negative_prompt": settings.negative_prompt,
    }
    return {**told, "prompt": settings.prompt} if settings.prompt else told
