"""Backends for the bridge's own tests: quick, exact, and badly behaved when the prompt says so.

They are added from outside, by `register` alone: what works with them works with any backend.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from bridge.backends.base import (
    AdaptiveLimit,
    Capabilities,
    Credential,
    DraftLayer,
    Estimate,
    Fate,
    Fetched,
    FixedLimit,
    JobContext,
    Model,
    NothingHeld,
    Paced,
    Placement,
    Progress,
    RemoteError,
    RemoteJob,
    RemoteModel,
    computer_wide,
)
from bridge.connection_file import data_dir
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.picture import Picture

SECONDS_ESTIMATED = 2.0
MEMORY_WANTED = "memory.wanted"
ALL_SETTINGS = frozenset(Settings.model_fields)


class TrialOptions(BaseModel):
    """shade: a number that a job may name; place: one that is the computer's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shade: Annotated[int, Field(ge=0, le=255)] = 7
    place: str = computer_wide("here")


class Trial:
    """Splits as `drafting.Bands` does, in the processor's lane."""

    name = "trial"
    placement = Placement("cpu", FixedLimit(1))
    Options = TrialOptions
    credential: Credential | None = None

    def capabilities(self, options: TrialOptions) -> Capabilities:
        return Capabilities(title="Trial", settings=ALL_SETTINGS)

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(SECONDS_ESTIMATED)

    def open(self, options: TrialOptions) -> AbstractContextManager[Model]:
        from tests.unit.trial.drafting import Bands

        note("opened", self.name)
        return nullcontext(Bands(options))


class GraphicsOptions(TrialOptions):
    """Those that stand for its placement's fields, as the real one's do."""

    keep_alive: float = computer_wide(1.0)
    leaves_with_client: bool = computer_wide(False)


class Graphics(Trial):
    """The same in a lane of its own, as a graphics card has: its worker stays for as long as a loaded model would.

    While the file MEMORY_WANTED lies in the data folder, another program needs the card's memory.
    """

    name = "graphics"
    placement = Placement("gpu:0", FixedLimit(1), keep_alive=300.0)
    Options = GraphicsOptions

    def open(self, options: TrialOptions) -> AbstractContextManager[Model]:
        from tests.unit.trial.drafting import WatchfulBands

        note("opened", self.name)
        return nullcontext(WatchfulBands(options))


class ElsewhereOptions(TrialOptions):
    """seconds: that a job takes at the service; wall: that it may take; places: jobs at work at a time."""

    seconds: float = 0.0
    wall: float = 60.0
    places: int = 1000


class Elsewhere:
    """A service in the engine's own process that splits as `drafting.Bands` does, seconds later."""

    name = "elsewhere"
    placement = Placement("elsewhere", AdaptiveLimit(), leaves_computer=True)
    Options = ElsewhereOptions
    credential: Credential | None = None

    def capabilities(self, options: ElsewhereOptions) -> Capabilities:
        return Capabilities(title="Elsewhere", short="elsewhere", settings=ALL_SETTINGS, cost="$0.01 a picture")

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(SECONDS_ESTIMATED, 0.01)

    def wall_clock(self, options: ElsewhereOptions) -> float:
        return options.wall

    def connect(self, options: ElsewhereOptions) -> RemoteModel:
        import tests.unit.trial.drafting  # noqa: F401  # a service's libraries are not loaded in the engine's loop

        note("connected", self.name)
        return Service(options)

    def pack(self, picture: "Picture", settings: Settings) -> bytes:
        from tests.unit.trial.drafting import as_png

        note("packing", "begun")
        packed = as_png(picture.view)
        note("packing", "done")
        return packed

    def unpack(self, fetched: Fetched, settings: Settings, job: JobContext) -> list[DraftLayer]:
        from tests.unit.trial.drafting import unpacked

        return list(unpacked(fetched.images))


class Service:
    """Keeps its orders in files, as a service outlives the engine. `broken`: the prompt that makes it fail."""

    def __init__(self, options: ElsewhereOptions) -> None:
        self._options = options
        self._at_work = asyncio.Semaphore(options.places)
        self._folder = data_dir() / "elsewhere"
        self._folder.mkdir(parents=True, exist_ok=True)

    async def submit(self, packed: bytes, settings: Settings, job: RemoteJob) -> str:
        handle = f"order-{time.time_ns()}"
        await job.keep(handle)
        if settings.prompt.startswith("note"):
            note("settings", settings.model_dump_json())
            note("options", self._options.model_dump_json())
        note("ordered", handle)
        (self._folder / handle).write_bytes(packed)
        return handle

    async def follow(self, handle: str, settings: Settings, job: RemoteJob) -> AsyncIterator[Progress]:
        if not (self._folder / handle).exists():
            raise NothingHeld()
        if settings.prompt == "broken":
            raise RemoteError("The service broke.", "Try again.", code="service_failed", retryable=True)
        if settings.prompt == "no key":
            raise RemoteError("The service does not accept the key.", "Set another.", code="service_key")
        yield Paced("Waiting elsewhere", 0, 1, pace="queued" if self._at_work.locked() else "started")
        async with self._at_work:
            yield Paced("Splitting elsewhere", 0, 1, pace="started")
            await asyncio.sleep(self._options.seconds)

    async def fetch(self, handle: str, settings: Settings, job: RemoteJob) -> Fetched:
        packed = (self._folder / handle).read_bytes()
        from tests.unit.trial.drafting import split

        images = await asyncio.to_thread(split, packed, settings)
        return Fetched(images, job.seed, 0.01)

    async def cancel(self, handle: str, job: RemoteJob) -> Fate:
        if job.begun and job.spare_begun:
            return Fate.BEGUN
        note("called off", handle)
        (self._folder / handle).unlink(missing_ok=True)
        return Fate.REMOVED

    async def close(self) -> None:
        note("closed", Elsewhere.name)


def note(what: str, text: str) -> None:
    """Add a line to the file `trial.notes` in the data folder."""
    data_dir().mkdir(parents=True, exist_ok=True)
    with open(data_dir() / "trial.notes", "a") as file:
        file.write(f"{what}: {text}\n")


def notes(data: Path, what: str) -> list[str]:
    """The texts that were noted under that name, in order."""
    try:
        lines = (data / "trial.notes").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [text for name, _, text in (line.partition(": ") for line in lines) if name == what]
