"""The remote backend: fal splits the picture; what it was handed survives whatever happens here."""

from collections.abc import Generator

from bridge.backends.base import Capabilities, Estimate, Event, Handle, JobContext, Progress
from bridge.backends.fal import sending
from bridge.backends.fal.account import open_account
from bridge.backends.fal.job import PRICE, Job
from bridge.backends.fal.talk import converse
from bridge.errors import BackendUnavailable
from bridge.picture import Picture
from bridge.settings import Settings

SECONDS = 25.0
"""fal's own guide says 15 to 30."""


class Fal:
    name = "fal"

    def capabilities(self) -> Capabilities:
        unavailable, remedy = "", ""
        try:
            open_account()
        except BackendUnavailable as problem:
            unavailable, remedy = problem.message, problem.hint
        return Capabilities(
            "fal (Qwen-Image-Layered)",
            prompt=True,
            remote=True,
            cost=f"${PRICE:.2f} a picture",
            unavailable=unavailable,
            remedy=remedy,
        )

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(seconds=SECONDS + 1.5 * width * height / 1e6, dollars=PRICE)

    def pack(self, picture: Picture) -> bytes:
        """A PNG file, no larger than what the model looks at."""
        return sending.pack(picture)

    def send(self, packed: bytes, settings: Settings, job: JobContext) -> Generator[Progress | Handle]:
        """Until fal has split it. `packed` is let go of as soon as it is there."""
        held = [packed]
        del packed
        account = open_account()
        yield from converse(lambda talk: Job(held.pop, settings, job, account, talk).send(), job.cancelled)

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Generator[Event]:
        """Progress and handles, then the layers back to front, at the model's size."""
        account = open_account()
        yield from (
            yield from converse(
                lambda talk: Job(lambda: sending.pack(picture), settings, job, account, talk).fetch(), job.cancelled
            )
        )
