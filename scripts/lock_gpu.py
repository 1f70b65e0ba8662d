"""Makes the three locks of the environment for models anew: python -m scripts.lock_gpu UV (the path of a uv).

requirements-gpu.lock has what every accelerator needs, requirements-gpu-cuda.lock what CUDA on Linux needs beside it,
and requirements-gpu-cpu.lock torch alone, for Macs and for computers without an accelerator.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CPU_WHEELS = ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",)
"""sha256 of wheels that PyTorch itself offers: torch-2.13.0+cpu for Linux, x86-64 and Python 3.11."""
TORCH = ("torch",)
CUDA = ("torch", "triton", "bitsandbytes", "nvidia-", "cuda-")
"""Packages, or beginnings of their names, that are for CUDA."""
MADE = "# Made by “python -m scripts.lock_gpu UV”.\n"
COMMON = (
    "# What a model on the user's own GPU needs, whatever the accelerator; torch itself is in the locks beside this.\n"
)
FOR_CUDA = (
    "# Beside requirements-gpu.lock: torch and what is for CUDA. On Linux torch's usual wheel is the one for CUDA.\n"
)
FOR_CPU = """\
# Beside requirements-gpu.lock: torch alone. For Macs, whose usual wheel has Apple's MPS, and for computers without an
# accelerator: the last hash is that of PyTorch's own wheel without CUDA, for Linux and Python 3.11, which is used
# where a computer has it at hand (PIP_FIND_LINKS).
# Not locked by hash, because only PyTorch's own index has them: torch for ROCm, for XPU, for CUDA on Windows and, where
# it is not at hand, the one without CUDA. The installer takes this very version from that index, over https, and each
# file must have the sha256 that the index states.
"""


def main(words: list[str]) -> None:
    [uv] = words
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.lock"
        options = ("--universal", "--generate-hashes", "--quiet", "--no-header", "--no-annotate")
        kept = ("--constraint", "requirements.lock")
        what = ("pyproject.toml", "--group", "build", "--extra", "gpu")
        subprocess.run([uv, "pip", "compile", *what, *options, *kept, "-o", whole], cwd=ROOT, check=True)
        entries = _entries(whole.read_text("utf-8"))
    torch = [entry for entry in entries if _named(entry, TORCH)]
    _write("requirements-gpu.lock", COMMON, [entry for entry in entries if not _named(entry, CUDA)])
    _write("requirements-gpu-cuda.lock", FOR_CUDA, [entry for entry in entries if _named(entry, CUDA)])
    _write("requirements-gpu-cpu.lock", FOR_CPU, [_with_hashes(entry, CPU_WHEELS) for entry in torch])


def _entries(text: str) -> list[str]:
    """Each package's lines."""
    entries: list[str] = []
    for line in text.splitlines(keepends=True):
        if line[:1].isspace():
            entries[-1] += line
        else:
            entries.append(line)
    return entries


def _named(entry: str, names: tuple[str, ...]) -> bool:
    name = entry.partition("==")[0]
    return any(name == each or (each.endswith("-") and name.startswith(each)) for each in names)


def _with_hashes(entry: str, hashes: tuple[str, ...]) -> str:
    return entry.rstrip("\n") + "".join(f" \\\n    --hash=sha256:{each}" for each in hashes) + "\n"


def _write(name: str, head: str, entries: list[str]) -> None:
    (ROOT / name).write_text(MADE + head + "".join(entries), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
