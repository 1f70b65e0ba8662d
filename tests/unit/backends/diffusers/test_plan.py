"""The layout over memory, for every size of card and computer, from the real model's configurations."""

import itertools
from dataclasses import replace

import pytest

from bridge.backends.diffusers import needs, sizes
from bridge.backends.diffusers.catalogue import KNOWN
from bridge.backends.diffusers.plan import (
    DEVICE_RESERVE,
    GB,
    RAM_RESERVE,
    Machine,
    Need,
    Plan,
    Refusal,
    choose,
    layouts,
    leaner,
    plans,
)
from bridge.backends.diffusers.shipped import shipped

CARDS = (6, 8, 12, 16, 24, 48, 80)
MEMORIES = (16, 32, 64)
BF16 = needs.usual_need("bf16", 40.9, 16.6)
FP8 = needs.usual_need("fp8", 20.5, 16.6)
Q4 = needs.usual_need("gguf", 13.1, 16.6)
BNB4 = needs.usual_need("bnb4", 11.5, 5.9)


def machine(card: float, memory: float) -> Machine:
    """As much is free as is there, less what a desktop takes."""
    return Machine("cuda", int((card - 0.5) * GB), int((memory - 2) * GB))


def test_sizes_are_those_of_the_published_weights() -> None:
    """In bf16: 40.9 and 16.6 GB."""
    assert sizes.transformer_weights(shipped("transformer")) * 2 / GB == pytest.approx(40.9, abs=0.1)
    assert sizes.encoder_weights(shipped("text_encoder")) * 2 / GB == pytest.approx(16.6, abs=0.1)


# What fits best: card × memory, for the model as published, in 8 bits, in GGUF Q4 and in bitsandbytes' 4 bits. The
# plan's name, where the text encoder is, and GB of the card and of memory. A dash where nothing fits without swapping.
TABLE = """
 6 16 | -                        -                        -                        -
 6 32 | -                        -                        blocks-fp8,blocks,2+23   -
 6 64 | blocks-fp8,blocks,2+31   blocks,blocks,2+38       blocks,blocks,2+31       -
 8 16 | -                        -                        -                        -
 8 32 | -                        -                        blocks-fp8,blocks,2+23   -
 8 64 | blocks-fp8,blocks,2+31   blocks,blocks,2+38       blocks,blocks,2+31       -
12 16 | -                        -                        -                        -
12 32 | -                        -                        blocks-fp8,blocks,2+23   -
12 64 | blocks-fp8,blocks,2+31   blocks,blocks,2+38       blocks,blocks,2+31       -
16 16 | -                        -                        -                        -
16 32 | -                        -                        blocks-fp8,blocks,2+23   turns,turns,13+18
16 64 | blocks-fp8,blocks,2+31   blocks,blocks,2+38       blocks,blocks,2+31       turns,turns,13+18
24 16 | fp8,blocks,22+10         fp8,blocks,22+10         -                        whole,card,19+1
24 32 | fp8,blocks,22+10         turns,blocks,22+18       fp8,turns,15+23          whole,card,19+1
24 64 | fp8,turns,22+31          turns,turns,22+38        turns,turns,17+31        whole,card,19+1
48 16 | fp8,turns,30+10          whole,card,39+1          -                        whole,card,19+1
48 32 | fp8,turns,30+10          whole,card,39+1          whole,card,31+13         whole,card,19+1
48 64 | turns,turns,43+58        whole,card,39+1          whole,card,31+13         whole,card,19+1
80 16 | whole,card,59+1          whole,card,39+1          -                        whole,card,19+1
80 32 | whole,card,59+1          whole,card,39+1          whole,card,31+13         whole,card,19+1
80 64 | whole,card,59+1          whole,card,39+1          whole,card,31+13         whole,card,19+1
"""
ROWS = [line.split("|") for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("sizes", "names"), ROWS, ids=[row[0].strip() for row in ROWS])
def test_the_table(sizes: str, names: str) -> None:
    card, memory = map(int, sizes.split())
    found = [choose(machine(card, memory), need) for need in (BF16, FP8, Q4, BNB4)]
    assert [told(each) for each in found] == names.split()


def told(plan: Plan | Refusal) -> str:
    if isinstance(plan, Refusal):
        return "-"
    encoder = "card" if plan.encoder == "device" else plan.encoder
    return f"{plan.name},{encoder},{plan.device / GB:.0f}+{plan.ram / GB:.0f}"


@pytest.mark.parametrize(("card", "memory"), list(itertools.product(CARDS, MEMORIES)))
@pytest.mark.parametrize("need", [BF16, FP8, Q4, BNB4], ids=["bf16", "fp8", "q4", "bnb4"])
def test_no_plan_takes_more_than_is_free(card: int, memory: int, need: Need) -> None:
    there = machine(card, memory)
    for plan in plans(there, need):
        assert plan.device + DEVICE_RESERVE <= there.device_free
        assert plan.ram + RAM_RESERVE <= there.ram_free


@pytest.mark.parametrize("need", [BF16, FP8, Q4, BNB4], ids=["bf16", "fp8", "q4", "bnb4"])
def test_more_memory_never_makes_it_slower(need: Need) -> None:
    for (card, memory), (more, larger) in itertools.product(itertools.product(CARDS, MEMORIES), repeat=2):
        if more < card or larger < memory:
            continue
        small, large = choose(machine(card, memory), need), choose(machine(more, larger), need)
        if isinstance(small, Plan):
            assert isinstance(large, Plan) and large.slower <= small.slower


def test_bf16_is_never_moved_whole_to_a_card_of_24() -> None:
    """One who did saw it swap for eight hours."""
    for plan in plans(machine(24, 128), BF16):
        assert plan.weights != "as they are" or plan.transformer == "blocks"


def test_a_larger_picture_needs_a_leaner_plan() -> None:
    there = machine(24, 64)
    usual = choose(there, BF16)
    large = choose(there, replace(BF16, step=BF16.step * 3))
    assert isinstance(usual, Plan) and usual.name == "fp8"
    assert isinstance(large, Plan) and large.device <= there.device_free - DEVICE_RESERVE


def test_leaner_takes_less_until_nothing_is_left() -> None:
    there = machine(80, 128)
    plan = choose(there, BF16)
    assert isinstance(plan, Plan)
    taken = [plan.device]
    while (less := leaner(plan, there, BF16)) is not None:
        plan = less
        taken.append(plan.device)
    assert taken == sorted(taken, reverse=True) and len(taken) > 3
    assert taken[-1] < 6 * GB


@pytest.mark.parametrize("layout", ["turns", "fp8", "int8", "blocks", "blocks-fp8", "whole"])
def test_what_is_asked_for_is_taken(layout: str) -> None:
    plan = choose(machine(100, 128), BF16, layout)  # type: ignore[arg-type]
    assert isinstance(plan, Plan) and plan.name == layout
    refused = choose(machine(4, 8), BF16, layout)  # type: ignore[arg-type]
    assert isinstance(refused, Refusal) and layout in refused.why and "auto" in refused.remedy


def test_a_refusal_says_what_is_needed() -> None:
    refused = choose(machine(8, 16), BF16)
    assert isinstance(refused, Refusal)
    assert "14.0 GB of memory are free" in refused.why and "unflatten models" in refused.remedy


def test_a_processor_is_refused_the_real_model_and_not_a_tiny_one() -> None:
    there = Machine("cpu", 200 * GB, 200 * GB, shared=True)
    refused = choose(there, BF16)
    assert isinstance(refused, Refusal) and "hours" in refused.why
    tiny = Need(10**6, 10**6, 10**6, 10**5, 10**6, 10**6)
    assert isinstance(choose(there, tiny), Plan)


def test_memory_that_is_shared_counts_once() -> None:
    """An Apple computer's, whose graphics cannot keep fp8 either."""
    there = Machine("mps", 96 * GB, 110 * GB, shared=True, eight_bits=False)
    plan = choose(there, BF16)
    assert isinstance(plan, Plan) and plan.weights == "as they are"
    assert isinstance(choose(replace(there, ram_free=40 * GB, device_free=36 * GB), BF16), Refusal)


def test_a_plan_is_told_in_one_sentence() -> None:
    plan = choose(machine(24, 64), BF16)
    assert isinstance(plan, Plan)
    assert plan.told().startswith("fp8: the transformer ") and "kept in fp8" in plan.told()


def test_every_known_model_can_be_planned() -> None:
    for known in KNOWN:
        need = needs.usual_need(known.form, *known.gigabytes[:2])
        assert all(plan.device > 0 and plan.ram >= 0 for plan in layouts(need, machine(24, 64)))


FORMS = {known.name: (known.form, *known.gigabytes[:2]) for known in KNOWN if known.lora is None}


@pytest.mark.parametrize(
    ("card", "memory", "name"),
    [
        (80, 64, "qwen-image-layered"),
        (48, 32, "qwen-image-layered"),
        (24, 64, "qwen-image-layered"),
        (24, 16, "qwen-image-layered"),
        (16, 32, "qwen-image-layered-bnb4"),
        (12, 32, "qwen-image-layered-q2-k"),
        (8, 32, "qwen-image-layered-q2-k"),
        (6, 16, ""),
    ],
)
def test_the_best_for_a_computer(card: int, memory: int, name: str) -> None:
    assert needs.best_of(FORMS, machine(card, memory)) == name
