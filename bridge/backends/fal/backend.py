"""The backend that has fal split pictures. Cheap to import: what it needs is imported where it is used."""

from typing import TYPE_CHECKING

from bridge.backends.base import (
    AdaptiveLimit,
    Capabilities,
    DraftLayer,
    Estimate,
    Fetched,
    JobContext,
    Placement,
    RemoteModel,
)
from bridge.backends.fal import account
from bridge.backends.fal.account import PRICE
from bridge.errors import UnflattenError
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.picture import Picture

SECONDS = 25.0
"""fal's own guide says 15 to 30."""
SECONDS_A_MEGAPIXEL = 1.5


class Fal:
    name = "fal"
    placement = Placement("fal", AdaptiveLimit(), leaves_computer=True)
    Options = account.Options
    credential = account.CREDENTIAL

    def capabilities(self, options: account.Options) -> Capabilities:
        """Whether there is a key is not asked: a keyring would have to be opened for it."""
        unavailable, remedy = "", ""
        try:
            account.addresses(options)
        except UnflattenError as problem:
            unavailable, remedy = problem.message, problem.hint
        return Capabilities(
            "fal (Qwen-Image-Layered)",
            short="fal",
            settings=frozenset(Settings.model_fields),
            cost=f"${PRICE:.2f} a picture",
            unavailable=unavailable,
            remedy=remedy,
        )

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(seconds=SECONDS + SECONDS_A_MEGAPIXEL * width * height / 1e6, dollars=PRICE)

    def wall_clock(self, options: account.Options) -> float:
        """Seconds that a picture may take at fal."""
        return options.wall_clock

    def connect(self, options: account.Options) -> RemoteModel:
        """The service, with the key of this computer. Raises BackendUnavailable with what to do."""
        from bridge.backends.fal.model import FalModel

        return FalModel(account.open_account(options), options.wall_clock)

    def pack(self, picture: "Picture", settings: Settings) -> bytes:
        """A PNG file, no larger than what the model looks at."""
        from bridge.backends.fal.pack import pack

        return pack(picture)

    def unpack(self, fetched: Fetched, settings: Settings, job: JobContext) -> list[DraftLayer]:
        """The layers, back to front as they came, at the model's size. Raises RemoteError."""
        from bridge.backends.fal.unpack import unpack

        return unpack(fetched, settings, job)
