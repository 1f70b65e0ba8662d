"""Small networks on this computer's processor, by onnxruntime: a leaf."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

_runtime: Any = onnxruntime  # a compiled module without types

THREADS = 2
"""Fixed, whatever the computer has: sums in another order may round otherwise, and a seed must give its bytes again."""
ERRORS_ONLY = 3
"""onnxruntime's level of what it prints."""


def open_session(weights: Path) -> onnxruntime.InferenceSession:
    """The network in the .onnx file `weights`, ready to run."""
    options = _runtime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.enable_cpu_mem_arena = False  # the arena would keep its peak for the worker's life
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])


class Network:
    """A network of one input and one output (others are ignored)."""

    def __init__(self, weights: Path) -> None:
        self._session: Any = open_session(weights)
        self._input: str = self._session.get_inputs()[0].name
        self._output: str = self._session.get_outputs()[0].name

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for the input `batch`, whose first axes count pictures."""
        return np.asarray(self._session.run([self._output], {self._input: batch})[0], np.float32)
