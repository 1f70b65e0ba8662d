"""Memory that a job has left behind in this process."""

import gc
import sys


class Cycles:
    """Frees what jobs leave behind in cycles.

    What libraries are made of never goes, and to look through it takes 50 ms: it is set aside (frozen). Whoever lets go
    of something large and old, such as a model, calls `gc.unfreeze()`; the next look is a thorough one then.
    """

    def __init__(self) -> None:
        self._modules = 0

    def free(self) -> None:
        if len(sys.modules) != self._modules or not gc.get_freeze_count():
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._modules = len(sys.modules)
        else:
            gc.collect()


def give_back_memory() -> None:
    """Return what the C library keeps for later: some 50 MB after a large picture came by, in frames of 8 MiB."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others return memory by themselves
        if trim is not None:
            trim(0)
