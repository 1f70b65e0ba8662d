"""Small networks on this machine's processor, by onnxruntime: a leaf."""

from pathlib import Path

import onnxruntime

THREADS = 2  # fixed, not the machine's: sums in another order may round otherwise, and a seed must give its bytes again


def open_session(weights: Path) -> onnxruntime.InferenceSession:
    """The network in the .onnx file `weights`, ready to run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # the arena would keep its peak for the worker's life
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
