"""The models that are known: where each comes from, its licence, and how large it is.

Sizes are in GB (10⁹ bytes), for choosing; what is really fetched is asked of the hub first, and said before it is.
Those marked `reported` are others' figures.
"""

from dataclasses import dataclass, field

QWEN = "Qwen/Qwen-Image-Layered"
APACHE = "Apache-2.0"


@dataclass(frozen=True)
class Source:
    """What one part is made of: those files of a repository whose names fit one of the patterns."""

    repository: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Located:
    """Something in a part: `path` is a folder or a file in it, or a pattern that one file fits."""

    part: str
    path: str


@dataclass(frozen=True)
class Known:
    """A model that can be added by its name. gigabytes: of its transformer, its text encoder, and the rest."""

    name: str
    title: str
    form: str
    transformer: Located
    text_encoder: Located
    gigabytes: tuple[float, float, float]
    licence: str = APACHE
    lora: Located | None = None
    reported: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple[str, ...])

    @property
    def base(self) -> Located:
        return BASE

    @property
    def parts(self) -> tuple[str, ...]:
        """Small ones first: what is missing or refused is known before the many GB are fetched."""
        adapter = (self.lora.part,) if self.lora else ()
        return (self.base.part, *adapter, self.transformer.part, self.text_encoder.part)


SOURCES = {
    "base": Source(
        QWEN,
        (
            *("model_index.json", "scheduler/*", "vae/*", "tokenizer/*", "processor/*"),
            *("transformer/config.json", "text_encoder/config.json"),
        ),
    ),
    "transformer": Source(QWEN, ("transformer/*",)),
    "text-encoder": Source(QWEN, ("text_encoder/*",)),
    "transformer-fp8": Source(
        "Comfy-Org/Qwen-Image-Layered_ComfyUI",
        ("split_files/diffusion_models/qwen_image_layered_fp8mixed.safetensors",),
    ),
    "transformer-bnb4": Source("OzzyGT/qwen-image-layered-bnb-4bit-transformer", ("*.json", "*.safetensors")),
    "text-encoder-bnb4": Source("OzzyGT/qwen-image-layered-bnb-4bit-text-encoder", ("*.json", "*.safetensors")),
    "stable-layers": Source(
        "StabilityLabs/Stable-Layers", ("model/adapter_config.json", "model/adapter_model.safetensors")
    ),
}
"""Parts by name; those of GGUF are added below. Models share them, and none is fetched twice."""

BASE = Located("base", "")
TEXT_ENCODER = Located("text-encoder", "text_encoder")
SMALL_TEXT_ENCODER = Located("text-encoder-bnb4", "")
PLAIN = Located("transformer", "transformer")

GGUF_REPOSITORY = "unsloth/Qwen-Image-Layered-GGUF"
GGUF = {"Q2_K": 7.1, "Q3_K_M": 9.7, "Q4_K_M": 13.1, "Q5_K_M": 14.9, "Q6_K": 16.8, "Q8_0": 21.8}
"""Kinds of GGUF → GB, as published for Qwen-Image, whose layered model differs by a few rows."""
GGUF_NOTES = {"Q2_K": ("The smallest; much is lost.",), "Q4_K_M": ("A good middle.",)}


def _gguf(kind: str, gigabytes: float) -> Known:
    SOURCES[f"transformer-{kind.lower()}"] = Source(GGUF_REPOSITORY, (f"*[Ll]ayered-{kind}.gguf",))
    return Known(
        f"qwen-image-layered-{kind.lower().replace('_', '-')}",
        f"Qwen-Image-Layered, GGUF {kind}",
        "gguf",
        Located(f"transformer-{kind.lower()}", "*.gguf"),
        TEXT_ENCODER,
        (gigabytes, 16.6, 0.3),
        reported=True,
        notes=GGUF_NOTES.get(kind, ()),
    )


KNOWN = (
    Known(
        "qwen-image-layered", "Qwen-Image-Layered as published, bf16", "bf16", PLAIN, TEXT_ENCODER, (40.9, 16.6, 0.3)
    ),
    Known(
        "qwen-image-layered-fp8",
        "Qwen-Image-Layered, fp8 (Comfy-Org)",
        "fp8",
        Located("transformer-fp8", SOURCES["transformer-fp8"].patterns[0]),
        TEXT_ENCODER,
        (20.5, 16.6, 0.3),
    ),
    *(_gguf(kind, gigabytes) for kind, gigabytes in GGUF.items()),
    Known(
        "qwen-image-layered-bnb4",
        "Qwen-Image-Layered, 4 bits by bitsandbytes (OzzyGT)",
        "bnb4",
        Located("transformer-bnb4", ""),
        SMALL_TEXT_ENCODER,
        (11.5, 5.9, 0.3),
        reported=True,
        notes=("For NVIDIA's GPUs only.",),
    ),
    Known(
        "stable-layers",
        "Stable-Layers: an adapter (LoRA) against blank and doubled layers, on bf16",
        "bf16",
        PLAIN,
        TEXT_ENCODER,
        (40.9, 16.6, 0.7),
        licence="Apache-2.0; the adapter's own licence is not verified here: read it at its source",
        lora=Located("stable-layers", "model/adapter_model.safetensors"),
        reported=True,
        notes=("Its makers use Heun, 50 steps, guidance 1 and 640 pixels.",),
    ),
)


def find(name: str) -> Known | None:
    return next((known for known in KNOWN if known.name == name), None)
