"""How the model is laid out over a graphics card's memory and the computer's: a pure function of what is free.

A plan never counts on swapping: where none fits, none is made, and the refusal says what would help.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

GB = 10**9
DEVICE_RESERVE = GB
"""Bytes of the card for its driver's own needs, and for a screen that hangs on it."""
RAM_RESERVE = 2 * GB
"""Bytes of the computer's memory that are left to everything else."""
LOADING = GB
"""Bytes of the computer's memory while weights go to the card, tensor by tensor."""
BLOCKS_AHEAD = 2
"""Blocks on the card at a time where they are fetched one after the other: the one at work and the next."""
HOPELESS_ON_CPU = 2 * GB
"""Bytes of weights from which a processor would take hours."""

TILES = 4
"""Of how many tiles a frame is decoded, where it is."""
TILING_COST = 0.05
"""Seconds of a step that this is worth, spread over all steps."""
PACKED_COST = {"as they are": 0.0, "fp8": 0.1, "int8": 0.15}
"""The same for weights that are unpacked before each use."""
ENCODER_PIECES = 14
"""The text encoder's largest piece is its table of words, a fourteenth of it."""
BUS = 20 * GB
"""Bytes a second from the computer's memory to the card."""

Weights = Literal["as they are", "fp8", "int8"]
Place = Literal["device", "turns", "blocks", "cpu"]
"""device: there for as long as the model is loaded; turns: there while it works, and in the computer's memory else;
blocks: fetched from there block by block, each time; cpu: never there, the processor computes it."""
Layout = Literal["auto", "whole", "turns", "fp8", "int8", "blocks", "blocks-fp8"]
"""What a user may ask for in place of the best: see `layouts`."""


@dataclass(frozen=True)
class Machine:
    """What is there.

    accelerator: cuda, rocm, xpu, mps or cpu. device_free, ram_free: bytes. shared: the device's memory is the
    computer's own (Apple's, and a processor's). eight_bits: whether 8-bit floating numbers can be kept there.
    """

    accelerator: str
    device_free: int
    ram_free: int
    shared: bool = False
    eight_bits: bool = True


@dataclass(frozen=True)
class Need:
    """What a job needs, in bytes: each component's weights as they lie on the disk, and what its work takes besides.

    block: one of the transformer's blocks. step, decode: a pass of the transformer, and one frame's decoding. packed:
    the transformer's weights are in 8 bits or fewer already, so that nothing is won by changing them. encoder_packed:
    the text encoder's in 8 bits; 0: they cannot be packed. through_ram: of the transformer's, what is in the computer's
    memory at a time before it goes to the card. in_parts: whether components can come block by block, or be computed
    by the processor.
    """

    transformer: int
    encoder: int
    vae: int
    block: int
    step: int
    decode: int
    packed: bool = False
    encoder_packed: int = 0
    through_ram: int = 0
    in_parts: bool = True


@dataclass(frozen=True)
class Plan:
    """Where each component is, and what that takes. device, ram: bytes at most; slower: seconds of a step over those
    with everything on the card, about."""

    name: Layout
    weights: Weights
    transformer: Place
    encoder: Place
    tiled: bool
    device: int
    ram: int
    slower: float

    def told(self) -> str:
        """The plan as a sentence."""
        where = {
            "device": "stays on the card",
            "turns": "is on the card while it works",
            "blocks": "comes to the card block by block",
            "cpu": "works on the processor",
        }
        kept = "" if self.weights == "as they are" else f", kept in {self.weights}"
        tiles = "; large frames are decoded in tiles" if self.tiled else ""
        return (
            f"{self.name}: the transformer {where[self.transformer]}{kept}, the text encoder {where[self.encoder]}"
            f"{tiles}; {self.device / GB:.1f} GB of the card, {self.ram / GB:.1f} GB of memory"
        )


@dataclass(frozen=True)
class Refusal:
    """No plan fits. why: a sentence; remedy: what would help."""

    why: str
    remedy: str


def choose(machine: Machine, need: Need, layout: Layout = "auto") -> Plan | Refusal:
    """The quickest plan that fits, or the one asked for; a refusal where it would not fit."""
    fitting = plans(machine, need)
    for plan in fitting:
        if layout in ("auto", plan.name):
            return plan
    return _refusal(machine, need, layout)


def leaner(plan: Plan, machine: Machine, need: Need) -> Plan | None:
    """The next plan that takes less of the card; None where there is none."""
    return next((each for each in plans(machine, need) if each.device < plan.device), None)


def plans(machine: Machine, need: Need) -> list[Plan]:
    """All that fit, the quickest first."""
    if machine.accelerator == "cpu" and need.transformer > HOPELESS_ON_CPU:
        return []
    fitting = [plan for plan in layouts(need, machine) if _fits(plan, machine)]
    return sorted(fitting, key=lambda plan: (plan.slower, plan.device))


def _fits(plan: Plan, machine: Machine) -> bool:
    if machine.shared:
        return plan.device + plan.ram + DEVICE_RESERVE <= machine.ram_free - RAM_RESERVE
    return plan.device + DEVICE_RESERVE <= machine.device_free and plan.ram + RAM_RESERVE <= machine.ram_free


def layouts(need: Need, machine: Machine) -> Iterator[Plan]:
    """All ways to lay the model out, whether they fit or not.

    whole: everything on the card. turns: text encoder and transformer by turns, or the encoder alone where the
    transformer can stay. fp8, int8: the same with what can be packed in 8 bits. blocks, blocks-fp8: block by block from
    the computer's memory, for small cards.
    """
    for tiled, weights in itertools.product((False, True), _weights(machine)):
        work = max(need.step, need.decode // TILES if tiled else need.decode) + need.vae
        for plan in _with_weights(weights, need, machine, work):
            if not need.in_parts and {"blocks", "cpu"} & {plan.transformer, plan.encoder}:
                continue
            yield replace(plan, tiled=tiled, slower=plan.slower + tiled * TILING_COST)


def _with_weights(weights: Weights, need: Need, machine: Machine, work: int) -> Iterator[Plan]:
    """Those with such weights. work: bytes that the card needs beside them."""
    plain = weights == "as they are"
    transformer = need.transformer if plain or need.packed else need.transformer // 2
    encoder = need.encoder if plain else need.encoder_packed or need.encoder
    piece = max(encoder // ENCODER_PIECES, need.vae)
    loading = 0 if machine.shared else LOADING

    def plan(name: Layout, places: tuple[Place, Place], device: int, ram: int, cost: float) -> Plan:
        most = max(ram + loading, need.through_ram)  # the transformer is loaded first
        return Plan(name, weights, *places, False, device, most, PACKED_COST[weights] + cost)

    if plain:
        yield plan("whole", ("device", "device"), transformer + encoder + work, 0, 0.0)
    by_turns: Layout = "turns" if plain else weights
    both = transformer + max(work, encoder + need.vae)
    yield plan(by_turns, ("device", "turns"), both, encoder, 0.01)
    one = max(transformer + work, encoder + need.vae)
    yield plan(by_turns, ("turns", "turns"), one, transformer + encoder, 0.02)
    yield plan(by_turns, ("device", "blocks"), transformer + max(work, piece + need.vae), encoder, 0.2)
    yield plan(by_turns, ("device", "cpu"), transformer + work, encoder, 0.5)
    if weights != "int8":
        block = transformer // max(need.transformer // max(need.block, 1), 1)
        fetched = max(BLOCKS_AHEAD * block + work, piece + need.vae)
        cost = 2 * transformer / BUS
        yield plan("blocks" if plain else "blocks-fp8", ("blocks", "blocks"), fetched, transformer + encoder, cost)


def _weights(machine: Machine) -> tuple[Weights, ...]:
    return ("as they are", "fp8", "int8") if machine.eight_bits else ("as they are",)


def _refusal(machine: Machine, need: Need, layout: Layout) -> Refusal:
    if machine.accelerator == "cpu" and need.transformer > HOPELESS_ON_CPU:
        return Refusal(
            "Without a graphics card this model would take hours for a picture.",
            "Use the built-in splitter, or a computer with a graphics card of 6 GB or more.",
        )
    least = min(layouts(need, machine), key=lambda plan: plan.device)
    free = f"{machine.device_free / GB:.1f} GB of graphics memory and {machine.ram_free / GB:.1f} GB of memory are free"
    if layout != "auto":
        return Refusal(f"The model does not fit as “{layout}”: {free}.", "Leave the layout to “auto”.")
    wants = f"at least {(least.device + DEVICE_RESERVE) / GB:.0f} GB and {(least.ram + RAM_RESERVE) / GB:.0f} GB"
    smaller = "" if need.packed else " A smaller form of the model needs less: see “unflatten models”."
    return Refusal(
        f"The model does not fit: {free}, and it needs {wants}.",
        f"Close other programs that use the graphics card or much memory, then try again.{smaller}",
    )
