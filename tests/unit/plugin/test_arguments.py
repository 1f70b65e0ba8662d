"""kritarunner's batch takes every setting of the endpoint, the backend and its own options."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def plugin(assembled: Path) -> None:
    """Makes `unflatten` importable."""


def test_what_is_not_given_is_left_to_the_bridge() -> None:
    from unflatten.arguments import read_arguments

    read = read_arguments(["a.png", "b", "--out", "results"])
    assert (read.inputs, read.out) == (("a.png", "b"), Path("results"))
    assert (read.choices.settings, read.choices.options, read.choices.backend) == ({}, {}, "")
    assert read.choices.batch


def test_every_setting_has_an_argument() -> None:
    from unflatten.arguments import read_arguments

    from bridge.settings import Settings

    given = (
        "a.png --out results --backend comfyui --layers 4 --prompt boat --negative-prompt text --steps 12 "
        "--guidance-scale 3.5 --seed 7 --acceleration high --no-safety-checker --output-format webp --sync-mode "
        "--option workflow=a=b.json --option denoise=0.5"
    )
    choices = read_arguments([*given.split()]).choices
    assert set(choices.settings) == set(Settings.model_fields)
    assert Settings.model_validate(choices.settings) == Settings(
        prompt="boat",
        negative_prompt="text",
        num_layers=4,
        num_inference_steps=12,
        guidance_scale=3.5,
        seed=7,
        acceleration="high",
        enable_safety_checker=False,
        output_format="webp",
        sync_mode=True,
    )
    assert choices.backend == "comfyui"
    assert choices.options == {"workflow": "a=b.json", "denoise": "0.5"}


def test_the_number_of_layers_may_be_auto_and_the_checker_on() -> None:
    from unflatten.arguments import read_arguments

    choices = read_arguments(["a.png", "--out", "results", "--layers", "auto", "--safety-checker"]).choices
    assert choices.settings == {"num_layers": "auto", "enable_safety_checker": True}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--layers 11", "auto, or a number from 1 to 10"),
        ("--layers many", "auto, or a number from 1 to 10"),
        ("--steps x", "--steps"),
        ("--guidance-scale x", "--guidance-scale"),
        ("--seed 1.5", "--seed"),
        ("--acceleration fast", "--acceleration"),
        ("--output-format gif", "--output-format"),
        ("--option workflow", "not of the form NAME=VALUE"),
        ("--option =1", "not of the form NAME=VALUE"),
    ],
)
def test_what_cannot_be_read_is_said(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    from unflatten.arguments import read_arguments

    with pytest.raises(SystemExit) as end:
        read_arguments(["a.png", "--out", "results", *given.split()])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
