"""Where fal is, and with which key: from the environment, the preferences and the keyring."""

import os
from dataclasses import dataclass, field

from bridge import keys, preferences
from bridge.errors import BackendUnavailable, UnflattenError
from bridge.urls import LOOPBACK_NAMES, Exempt, check_base_url, origin_of

ENDPOINT = "fal-ai/qwen-image-layered"
SERVICE = "fal"
VARIABLE = "UNFLATTEN_FAL_URL"
KEY_REMEDY = "Get one at fal.ai › Dashboard › Keys, then run “unflatten key set fal”."


@dataclass(frozen=True)
class Places:
    """Base URLs without a slash at their end."""

    queue: str = "https://queue.fal.run"
    rest: str = "https://rest.fal.ai"
    platform: str = "https://api.fal.ai/v1"

    @property
    def exempt(self) -> Exempt:
        """What the user has configured may be anywhere; what fal's own answers name may not."""
        own = {origin_of(url) for url in (self.queue, self.rest, self.platform)}
        return frozenset(own - {origin_of(url) for url in (Places.queue, Places.rest, Places.platform)})

    @property
    def is_here(self) -> bool:
        """Whether all of it is on this computer, where no proxy leads."""
        return all(origin_of(url).host in LOOPBACK_NAMES for url in (self.queue, self.rest, self.platform))


@dataclass(frozen=True)
class Account:
    """key: shown nowhere. wall_clock: seconds that a job may take."""

    places: Places
    wall_clock: float
    key: str = field(repr=False)


def places(preferred: preferences.Preferences) -> Places:
    """Where fal is: by the environment, else by the preferences, else where everyone finds it. Raises BadSettings."""
    base = os.environ.get(VARIABLE, "") or preferred.fal_url
    found = Places()
    if base:
        base = check_base_url(base)
        found = Places(f"{base}/queue", f"{base}/rest", f"{base}/platform/v1")
    return Places(
        preferred.fal_queue_url or found.queue,
        preferred.fal_rest_url or found.rest,
        preferred.fal_platform_url or found.platform,
    )


def open_account() -> Account:
    """Raises BackendUnavailable, with what to do, where pictures may not be sent or no key is there."""
    preferred = preferences.read()
    if not preferred.remote_allowed:
        raise BackendUnavailable(
            "Your pictures may not leave this computer.",
            "Run “unflatten set remote-allowed yes” to let them be sent to the service that you choose.",
        )
    try:
        found = places(preferred)
        key = keys.find(SERVICE)
    except UnflattenError as problem:
        raise BackendUnavailable(problem.message, problem.hint) from None
    if key is None:
        raise BackendUnavailable("There is no key for fal.", KEY_REMEDY)
    return Account(found, preferred.wall_clock, key.value)
