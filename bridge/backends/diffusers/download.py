"""Downloads as the command sees them: `fetch` runs in the models' environment, and its lines are understood here."""

import json
import os
import subprocess
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bridge
from bridge.backends.diffusers import environment
from bridge.backends.diffusers.catalogue import SOURCES
from bridge.backends.shelf import Fetching
from bridge.errors import BackendUnavailable, UnflattenError

MODULE = "bridge.backends.diffusers.fetch"
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""What would lead another Python astray."""
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try of a download that does not come any further."""
PATIENCE = 10.0
"""Seconds that the other process may take to end when it is told to."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub has it. sha256: of a large one; blob: git's own hash, of a small one."""

    size: int
    sha256: str
    blob: str


@dataclass(frozen=True)
class RemotePart:
    """A part as the hub has it now."""

    name: str
    repository: str
    revision: str
    files: dict[str, RemoteFile]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


def listed(parts: Iterable[str]) -> list[RemotePart]:
    """What the hub has of these parts. Raises UnflattenError, and BackendUnavailable without the environment."""
    asked = [{"name": name, **asdict(SOURCES[name])} for name in parts]
    if not asked:
        return []
    found: list[RemotePart] = []
    for line in _run("list", {"parts": asked}):
        for each in line.get("listed", ()):
            files = {name: RemoteFile(**file) for name, file in each["files"].items()}
            found.append(RemotePart(each["name"], each["repository"], each["revision"], files))
    return found


def missing(folder: Path, parts: Iterable[RemotePart]) -> int:
    """Bytes of `parts` that an earlier, interrupted download has not brought yet."""
    return sum(
        file.size - min(file.size, _there(folder / f"{part.name}.part" / name))
        for part in parts
        for name, file in part.files.items()
    )


def fetch(folder: Path, parts: list[RemotePart], tell: Callable[[Fetching], None]) -> Generator[RemotePart]:
    """Download `parts` into `folder`, each into a folder `NAME.part`; each is yielded when it is whole and checked."""
    if not parts:
        return
    total = sum(part.size for part in parts)
    by_name = {part.name: part for part in parts}
    asked = {"folder": str(folder), "parts": [asdict(part) for part in parts], "waits": WAITS}
    for line in _run("fetch", asked):
        if "fetched" in line:
            yield by_name.pop(line["fetched"])
        elif "file" in line:
            tell(Fetching(str(line["file"]), int(line["done"]), total))


def _run(mode: str, asked: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    python = environment.python()
    if python is None:
        raise BackendUnavailable("What models need to run here is not set up.", environment.MAKE)
    variables = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    try:
        process = subprocess.Popen(
            [python, "-m", MODULE, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(bridge.__file__).parents[1],
            env=variables,
            text=True,
            encoding="utf-8",
        )
    except OSError:
        raise BackendUnavailable("The environment for models does not start.", environment.MAKE) from None
    assert process.stdin and process.stdout
    try:
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        for text in process.stdout:
            line = json.loads(text)
            if "error" in line:
                raise UnflattenError.from_dict(line["error"])
            yield line
        if process.wait():
            raise BackendUnavailable("The environment for models does not start.", environment.MAKE)
    except (BrokenPipeError, ValueError):
        raise BackendUnavailable("The environment for models does not start.", environment.MAKE) from None
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _there(target: Path) -> int:
    """Bytes of a file that are here, whole or not."""
    found = [target, *target.parent.glob(f"{target.name}.*.incomplete")] if target.parent.is_dir() else []
    return max((file.stat().st_size for file in found if file.is_file()), default=0)
