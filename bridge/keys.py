"""Keys of remote services: from the environment or the system's keyring, never in a file of ours. A leaf."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bridge.errors import BadSettings, UnflattenError

SERVICES = {"fal": "FAL_KEY"}
"""Services that want a key, and the variable in which it may stand."""
KEYRING = "unflatten"
_READABLE = re.compile(r"[\x21-\x7e]{8,512}")


class KeyringProblem(UnflattenError):
    """The system's keyring is not there or does not open."""

    code = "keyring"


@dataclass(frozen=True)
class Key:
    """value: shown nowhere, not even in a repr. where: it was found, in words."""

    value: str = field(repr=False)
    where: str


def find(service: str) -> Key | None:
    """The key for `service`, the environment's before the keyring's; None where there is none.

    Raises KeyringProblem where only an open keyring could tell, and BadSettings where what stands there is no key.
    """
    variable = SERVICES[service]
    given = os.environ.get(variable, "").strip()
    if given:
        return Key(_checked(given, f"What stands in {variable}"), f"in the environment ({variable})")
    with _explained():
        import keyring

        kept = keyring.get_password(KEYRING, service)
    return Key(_checked(kept, "What the keyring holds"), "in the keyring") if kept else None


def keep(service: str, value: str) -> None:
    """Put the key for `service` into the keyring. Raises KeyringProblem and BadSettings."""
    value = _checked(value.strip(), "What you gave")
    with _explained():
        import keyring

        keyring.set_password(KEYRING, service, value)


def forget(service: str) -> bool:
    """Take the key for `service` out of the keyring; False where it held none. Raises KeyringProblem."""
    with _explained():
        import keyring

        if keyring.get_password(KEYRING, service) is None:
            return False
        keyring.delete_password(KEYRING, service)
    return True


def check_service(name: str) -> str:
    """The name of a service that wants a key. Raises BadSettings."""
    if name not in SERVICES:
        raise BadSettings(f"No key is needed for “{name}”.", f"Keys are kept for: {', '.join(SERVICES)}.")
    return name


def _checked(value: str, what: str) -> str:
    if not _READABLE.fullmatch(value):
        raise BadSettings(
            f"{what} is not a key.", "A key is one word of letters and digits. Copy it whole, and without quotes."
        )
    return value


@contextmanager
def _explained() -> Generator[None]:
    """keyring's errors as sentences; without their texts, which may quote what was to be kept."""
    try:
        yield
    except UnflattenError:
        raise
    except Exception as problem:
        missing = type(problem).__name__ == "NoKeyringError"
        variables = " or ".join(SERVICES.values())
        raise KeyringProblem(
            "This system has no keyring in which a key could be kept."
            if missing
            else "The system’s keyring did not open.",
            f"Put the key into the environment instead: the variable {variables}."
            if missing
            else f"Unlock it and try again, or put the key into the environment: the variable {variables}.",
        ) from None
