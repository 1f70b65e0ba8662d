"""The second environment, `.venv-gpu`: what a model on the user's own GPU needs, apart from the bridge's own."""

import re
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any, ClassVar, Optional

from installer.accelerators import ALL, Accelerator
from installer.environment import NAME, RETRY, Environment, find_python
from installer.run import answer, run
from installer.say import Failure, line

TORCH_INDEX = "https://download.pytorch.org/whl"
"""Where PyTorch offers its wheels for each accelerator."""
TORCH = re.compile(r"^torch==([\d.]+)", re.MULTILINE)
MARK = "accelerator.txt"
"""In the environment from its beginning, so that one that was interrupted can be gone on with."""
TEST_PACKAGES = ("pytest", "pytest-timeout", "pytest-asyncio", "iniconfig", "pluggy", "packaging", "pygments")
PARTS = "torch, diffusers, transformers, accelerate, gguf, safetensors, huggingface_hub, bridge.picture"


class GpuEnvironment(Environment):
    """`.venv-gpu` in `root`, for one accelerator."""

    name: ClassVar[str] = ".venv-gpu"
    title: ClassVar[str] = "the environment for models"
    patience: ClassVar[float] = 600

    def __init__(self, root: Path, accelerator: Accelerator) -> None:
        super().__init__(root)
        self.accelerator = accelerator
        self.size = f"{accelerator.fetched:g} GB"
        if not self._wholly_locked and find_python():
            self.uv = None  # pip knows the wheels that a computer has at hand, and checks what PyTorch's index states

    @staticmethod
    def existing(root: Path) -> Optional["GpuEnvironment"]:
        """The one that is there, finished or not; None where there is none."""
        try:
            name = (root / GpuEnvironment.name / MARK).read_text("utf-8").strip()
        except OSError:
            return None
        return next((GpuEnvironment(root, each) for each in ALL if each.name == name), None)

    @property
    def up_to_date(self) -> bool:
        stamp = self._stamp()
        return stamp == self.wanted(bool(stamp.get("dev"))) and self.python.is_file()

    def wanted(self, dev: bool) -> dict[str, Any]:
        return {**super().wanted(dev), "accelerator": self.accelerator.name}

    def remove(self) -> bool:
        """Remove it, also where it was interrupted before it was one."""
        if super().remove():
            return True
        if self.folder.is_symlink() or not (self.folder / MARK).is_file():
            return False
        shutil.rmtree(self.folder)
        return True

    @property
    def _wholly_locked(self) -> bool:
        """Is torch, too, in a lock with its hash, from the usual place?"""
        return self.accelerator.name == "mps" or (self.accelerator.name == "cuda" and sys.platform == "linux")

    @property
    def _torch_lock(self) -> Path:
        return self.root / f"requirements-gpu-{'cuda' if self.accelerator.name == 'cuda' else 'cpu'}.lock"

    def _locks(self, dev: bool) -> list[Path]:
        return [self.root / "requirements-gpu.lock", self._torch_lock]

    def _is_updatable(self, before: dict[str, Any]) -> bool:
        same = before.get("accelerator", self.accelerator.name) == self.accelerator.name
        return same and super()._is_updatable(before)

    def _create(self) -> None:
        super()._create()
        (self.folder / MARK).write_text(self.accelerator.name, "utf-8")

    def _install_locked(self, dev: bool) -> None:
        common, torch = self._locks(dev)
        if self._wholly_locked:
            self.install("--requirement", common, "--requirement", torch)
        else:
            self.install("--requirement", common)
            self._install_torch(torch)
        if dev:
            self._install_for_tests()

    def _install_torch(self, lock: Path) -> None:
        """Torch where its wheel is not simply the usual one."""
        for_cpu = self.accelerator.name == "cpu"
        at_hand = [*self._installer("install"), "--no-deps", "--require-hashes", "--no-index", "--requirement", lock]
        if for_cpu and answer(at_hand, self.patience) is not None:
            return
        if not for_cpu or (sys.platform != "darwin" and _answers(f"{TORCH_INDEX}/cpu/torch/")):
            self._install_from_pytorch(TORCH.findall(lock.read_text("utf-8"))[0])
            return
        self.install("--requirement", lock)
        if sys.platform == "linux":
            line("PyTorch's wheel without CUDA could not be had, so the usual one and its 2.8 GB are fetched.")
            self.install("--requirement", self.root / "requirements-gpu-cuda.lock")

    def _install_from_pytorch(self, version: str) -> None:
        """Torch for an accelerator whose wheels only PyTorch's own index has, and what it needs beside it."""
        build = _newest_build(version, "cu" if self.accelerator.name == "cuda" else self.accelerator.name)
        line(f"torch {version}+{build} comes from PyTorch's own index, by its version: the lock has no hash for it.")
        source = ["--index-url", f"{TORCH_INDEX}/{build}", "--only-binary", ":all:"]
        run([*self._installer("install"), *source, f"torch=={version}+{build}"], "Installing torch", RETRY)

    def _install_for_tests(self) -> None:
        lock = self.folder / "tests.lock"
        lock.write_text(_part_of(self.root / "requirements-dev.lock", TEST_PACKAGES), "utf-8")
        self.install("--requirement", lock)

    def _loading(self) -> list[object]:
        return [self.python, "-c", f"import {PARTS}"]


def _part_of(lock: Path, names: tuple[str, ...]) -> str:
    """Those entries of a lock that are of the packages `names`."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock.read_text("utf-8"), flags=re.MULTILINE)
    found = {match[1]: entry for entry in entries if (match := re.match(NAME, entry))}
    return "".join(found[name] for name in names)


def _newest_build(version: str, kind: str) -> str:
    """The newest of PyTorch's builds of this version, “rocm7.2”, “xpu”, “cu130”. Raises Failure."""
    try:
        with urllib.request.urlopen(f"{TORCH_INDEX}/torch/", timeout=30) as answered:
            page = answered.read(16 * 2**20).decode("utf-8", "replace")
    except OSError as problem:
        raise Failure(f"PyTorch's index of wheels could not be read: {problem}.", RETRY) from None
    builds = set(re.findall(rf"torch-{re.escape(version)}(?:%2B|\+)({kind}[\d.]*)-", page))
    if not builds:
        raise Failure(f"PyTorch has no wheel of torch {version} for {kind}.", "look for a newer Unflatten.")
    return max(builds, key=lambda build: [int(number) for number in re.findall(r"\d+", build)])


def _answers(url: str) -> bool:
    """Can it be reached, within three seconds?"""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=3):
            return True
    except (OSError, ValueError):
        return False
