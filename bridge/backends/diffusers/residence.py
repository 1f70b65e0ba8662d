"""The loaded model and its stay in memory: laid out by a plan, laid out leaner when memory runs out, and given up when
another program needs the memory."""
# pyright: standard, reportMissingImports=false

import gc
from collections.abc import Generator
from dataclasses import replace

import psutil
import torch

from bridge.backends.base import JobContext, Progress
from bridge.backends.diffusers import loading
from bridge.backends.diffusers.library import ModelFiles
from bridge.backends.diffusers.loading import Parts
from bridge.backends.diffusers.machine import ram_free
from bridge.backends.diffusers.needs import need_of
from bridge.backends.diffusers.options import Options
from bridge.backends.diffusers.plan import Machine, Need, Plan, Refusal, choose
from bridge.backends.diffusers.plan import leaner as next_leaner
from bridge.errors import BackendUnavailable, WorkerDied

LOADING = "Loading the model"
TAKEN = 256 * 2**20
"""Bytes that others have taken since the last picture, from which they count."""
SCARCE = 2**30
"""Bytes of the card below which others may be in need."""
SCARCE_RAM = 0.06
"""Of the computer's memory."""


class Residence:
    """Holds at most one loaded model."""

    def __init__(self, files: ModelFiles, options: Options, accelerator: str) -> None:
        self.files = files
        self.options = options
        self._accelerator = accelerator
        self._parts: Parts | None = None
        self._need: Need | None = None
        self._free_at_rest = 0

    def ready(
        self, size: tuple[int, int], layers: int, job: JobContext, *, leaner: bool
    ) -> Generator[Progress, None, Parts]:
        """The model, loaded so that a picture of that size fits. leaner: memory ran out with the plan that it has.

        Raises BackendUnavailable where no plan fits or the files are damaged.
        """
        item = loading.dtype_of(self._accelerator).itemsize
        need = need_of(self.files, *size, layers, item)
        if self._parts is not None and not leaner and self._need is not None and need.step <= self._need.step:
            return self._parts
        plan = self._plan(need, leaner=leaner)
        if self._parts is not None and plan == self._parts.plan:
            self._need = need
            return self._parts
        self.close()
        yield Progress(LOADING, 0, 1)
        job.checkpoint()
        try:
            self._parts = loading.load(self.files, plan, self._accelerator)
        except Exception as problem:  # each library has errors of its own for a file that it cannot read
            if is_out_of_memory(problem):
                raise
            raise BackendUnavailable(
                f"The model “{self.files.name}” could not be loaded: {type(problem).__name__}.",
                f"Run “unflatten models remove {self.files.name}”, then add it again.",
            ) from problem
        self._need = need
        job.notes.append(f"The model was laid out as {plan.told()}.")
        yield Progress(LOADING, 1, 1)
        return self._parts

    def _plan(self, need: Need, *, leaner: bool) -> Plan:
        before = self._parts.plan if self._parts is not None else None
        if leaner:
            self.close()
            less = before and next_leaner(before, self.machine(), need)
            if less is None:
                raise self.out_of_memory()
            return less
        machine = self.machine()
        if before is not None:  # what it holds itself is free for it
            machine = replace(
                machine, device_free=machine.device_free + before.device, ram_free=machine.ram_free + before.ram
            )
        chosen = choose(machine, need, self.options.layout)
        if isinstance(chosen, Refusal):
            raise BackendUnavailable(chosen.why, chosen.remedy, code="out_of_memory")
        return chosen

    def machine(self) -> Machine:
        """What is free now."""
        device, ram = loading.torch_device(self._accelerator), ram_free()
        if device == "cpu":
            return Machine("cpu", ram, ram, shared=True)
        if device == "mps":
            free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
            return Machine("mps", free, ram, shared=True, eight_bits=False)
        free, _ = getattr(torch, device).mem_get_info()
        return Machine(self._accelerator, free, ram)

    def out_of_memory(self) -> WorkerDied:
        """The error for a picture that does not fit, with any plan."""
        return WorkerDied(
            "The graphics card ran out of memory, twice.",
            "Close other programs that use it, ask for fewer layers, or use a smaller form of the model: “unflatten "
            "models” lists them.",
            code="out_of_memory",
        )

    def rest(self) -> None:
        """A picture is done, or given up: what it took is given back, and the model stays."""
        gc.collect()
        loading.empty_cache(loading.torch_device(self._accelerator))
        self._free_at_rest = self.machine().device_free

    def memory_wanted(self) -> bool:
        """Whether another program has taken memory since, and there is little left."""
        if self._parts is None:
            return False
        machine = self.machine()
        if machine.ram_free < SCARCE_RAM * psutil.virtual_memory().total:
            return True
        return machine.device_free < SCARCE and self._free_at_rest - machine.device_free > TAKEN

    def close(self) -> None:
        """Let the model go."""
        self._parts = None
        gc.collect()
        loading.empty_cache(loading.torch_device(self._accelerator))


def is_out_of_memory(problem: Exception) -> bool:
    """Whether memory ran out, the card's or the computer's: torch has no type of its own for the latter."""
    return isinstance(problem, torch.OutOfMemoryError | MemoryError) or any(
        words in str(problem) for words in ("can't allocate memory", "not enough memory", "out of memory")
    )
