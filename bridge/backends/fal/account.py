"""Where fal is, and with which key: what the user has decided of it, the environment and the keyring."""

import os
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bridge.backends.base import Credential, computer_wide
from bridge.errors import BackendUnavailable, UnflattenError
from bridge.urls import LOOPBACK_NAMES, Exempt, check_base_url, origin_of

ENDPOINT = "fal-ai/qwen-image-layered"
PRICE = 0.05
"""US dollars a picture, by the endpoint's page."""
VARIABLE = "UNFLATTEN_FAL_URL"
CREDENTIAL = Credential("fal", "FAL_KEY", "Get one at fal.ai › Dashboard › Keys, then run “unflatten key set fal”.")

CLOCK = "Seconds that a picture may take at fal, from 5 to 86400: 600, for example."
BaseURL = Annotated[str, AfterValidator(lambda url: check_base_url(url) if url else "")]


class Options(BaseModel):
    """url: the one base of all that is fal's; the next three: of its queue, its storage and its platform, where they
    differ; empty ones mean fal's own. wall_clock: seconds that a picture may take at fal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: BaseURL = computer_wide("", description="The address of a service that stands for all of fal.")
    queue_url: BaseURL = computer_wide("", description="The address that stands for queue.fal.run.")
    rest_url: BaseURL = computer_wide("", description="The address that stands for rest.fal.ai.")
    platform_url: BaseURL = computer_wide("", description="The address that stands for api.fal.ai/v1.")
    wall_clock: Annotated[float, Field(ge=5, le=86_400, description=CLOCK)] = 600.0


@dataclass(frozen=True)
class Addresses:
    """Base URLs without a slash at their end."""

    queue: str = "https://queue.fal.run"
    rest: str = "https://rest.fal.ai"
    platform: str = "https://api.fal.ai/v1"

    @property
    def exempt(self) -> Exempt:
        """What the user has configured may be anywhere; what fal's own answers name may not."""
        own = {origin_of(url) for url in (self.queue, self.rest, self.platform)}
        return frozenset(own - {origin_of(url) for url in (Addresses.queue, Addresses.rest, Addresses.platform)})

    @property
    def is_here(self) -> bool:
        """Whether all of it is on this computer, where no proxy leads."""
        return all(origin_of(url).host in LOOPBACK_NAMES for url in (self.queue, self.rest, self.platform))


@dataclass(frozen=True)
class Account:
    """key: shown nowhere."""

    addresses: Addresses
    key: str = field(repr=False)


def addresses(options: Options) -> Addresses:
    """Where fal is: by the environment, else by the options, else where everyone finds it. Raises BadSettings."""
    base = os.environ.get(VARIABLE, "") or options.url
    found = Addresses()
    if base:
        base = check_base_url(base)
        found = Addresses(f"{base}/queue", f"{base}/rest", f"{base}/platform/v1")
    return Addresses(
        options.queue_url or found.queue,
        options.rest_url or found.rest,
        options.platform_url or found.platform,
    )


def open_account(options: Options) -> Account:
    """The account that jobs are sent with; may ask the keyring. Raises BackendUnavailable with what to do."""
    from bridge import keys

    try:
        found = addresses(options)
        key = keys.find(CREDENTIAL)
    except UnflattenError as problem:
        raise BackendUnavailable(problem.message, problem.hint) from None
    if key is None:
        raise BackendUnavailable("There is no key for fal.", CREDENTIAL.where)
    return Account(found, key.value)
