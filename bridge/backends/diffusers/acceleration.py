"""What “none”, “regular” and “high” stand for, and how they are laid on a loaded transformer.

none computes what diffusers' own pipeline computes. regular leaves out passes that would hardly change anything
(First Block Cache: where the first block's part of the change is nearly that of the step before, the other blocks' part
of that step is used again) and, when several pictures have come, compiles the blocks where there is a compiler. high
leaves out more, takes fewer steps, and guides only the first of them, which decide what goes where.
"""
# pyright: standard, reportMissingImports=false, reportAttributeAccessIssue=false

import contextlib
import logging
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from diffusers import FirstBlockCacheConfig

from bridge.backends.diffusers.loading import Parts

log = logging.getLogger("unflatten")


@dataclass(frozen=True)
class Acceleration:
    """cache: the share of change below which the blocks' part is used again; 0: never. compiled: whether blocks are.
    steps: the share of the steps asked for that are taken, at least `FEWEST`. guided: of those, how many are guided.
    """

    cache: float = 0.0
    compiled: bool = False
    steps: float = 1.0
    guided: float = 1.0

    def steps_of(self, asked: int) -> int:
        return min(asked, max(FEWEST, round(asked * self.steps)))


COMPILED_AFTER = 3
"""Pictures that a loaded model has split before its blocks are compiled: that takes up to a minute, which a single
picture would not win back."""
FEWEST = 8
"""Steps: below, layers fall apart."""
LEVELS = {
    "none": Acceleration(),
    "regular": Acceleration(cache=0.08, compiled=True),
    "high": Acceleration(cache=0.15, compiled=True, steps=0.6, guided=0.6),
}


@contextlib.contextmanager
def applied(parts: Parts, level: Acceleration) -> Generator[None]:
    """The transformer as `level` wants it, until the block ends; what was compiled stays so."""
    transformer: Any = parts.pipe.transformer
    worth_it = parts.device == "cuda" and parts.plan.transformer == "device" and parts.drafted >= COMPILED_AFTER
    if level.compiled and worth_it:
        compile_blocks(transformer)
    if level.cache:
        transformer.enable_cache(FirstBlockCacheConfig(threshold=level.cache))
    try:
        yield
    finally:
        if level.cache:
            transformer.disable_cache()


def compile_blocks(transformer: Any) -> None:
    """Compile each block once for all. Where there is no compiler, they stay as they are: slower, and the same."""
    import torch

    if getattr(transformer, "_unflatten_compiled", False):
        return
    torch._dynamo.config.suppress_errors = True  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    try:
        transformer.compile_repeated_blocks()
        transformer._unflatten_compiled = True
    except Exception as error:
        log.info("the blocks could not be compiled: %s", type(error).__name__)
