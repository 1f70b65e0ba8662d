"""The arguments of kritarunner's batch. The bridge checks the values of settings and options; see connection.check."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .job import Choices

# argument → the endpoint's own name of the setting
_SETTINGS = {
    "layers": "num_layers",
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "seed": "seed",
    "acceleration": "acceleration",
    "safety_checker": "enable_safety_checker",
    "output_format": "output_format",
    "sync_mode": "sync_mode",
}


@dataclass(frozen=True)
class Arguments:
    """What a batch is to do. inputs: pictures, folders and patterns. out: the folder of the results."""

    inputs: tuple[str, ...]
    out: Path
    choices: Choices
    keep_original: bool = False


def read_arguments(given: list[str]) -> Arguments:
    """Raises SystemExit, with the reason on standard error, where an argument is not readable."""
    read = _parser().parse_args(given)
    values = {name: getattr(read, argument) for argument, name in _SETTINGS.items()}
    settings = {name: value for name, value in values.items() if value is not None}
    choices = Choices(settings, dict(read.option), read.backend, batch=True)
    return Arguments(tuple(read.inputs), read.out, choices, read.keep_original_visible)


def _layers(text: str) -> str | int:
    if text == "auto":
        return text
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 10:
        raise argparse.ArgumentTypeError("auto, or a number from 1 to 10")
    return number


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"“{text}” is not of the form NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kritarunner -s unflatten.batch -f run --", description="Take pictures apart into layered .kra files."
    )

    def add(name: str, **about: Any) -> None:
        parser.add_argument(name, **about)

    add("inputs", nargs="+", metavar="IN", help="a picture, a folder or a pattern")
    add("--out", type=Path, required=True, metavar="DIR", help="where the .kra files go")
    add("--backend", default="", metavar="NAME", help="who splits; the one set with “unflatten set” if left out")
    add("--layers", type=_layers, metavar="auto|N", help="at most N layers, 1 to 10")
    add("--prompt", metavar="TEXT", help="what the picture shows")
    add("--negative-prompt", metavar="TEXT", help="what the layers are not to show")
    add("--steps", type=int, metavar="N", help="steps that a model takes, 1 to 50")
    add("--guidance-scale", type=float, metavar="X", help="how closely a model follows the prompt, 1 to 20")
    add("--seed", type=int, metavar="N", help="the same seed gives the same layers")
    add("--acceleration", choices=("none", "regular", "high"), help="how much quality a service may give up for speed")
    checker = "have a service refuse what it takes for unsafe, or not"
    add("--safety-checker", action=argparse.BooleanOptionalAction, default=None, help=checker)
    add("--output-format", choices=("png", "webp"), help="what a service sends its layers as")
    add("--sync-mode", action="store_true", default=None, help="have a service send its layers within its answer")
    shown = "let the original show where a layer of the group is hidden"
    add("--keep-original-visible", action="store_true", help=shown)
    options = "an option of the backend's own; may be given again"
    add("--option", type=_option, action="append", default=[], metavar="NAME=VALUE", help=options)
    return parser
