"""Keys of remote services: from the environment or the system's keyring, never in a file of ours."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge.backends import registry
from bridge.backends.base import Credential
from bridge.errors import BadSettings, UnflattenError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend


KEYRING = "unflatten"
_READABLE = re.compile(r"[\x21-\x7e]{8,512}")


class KeyringProblem(UnflattenError):
    """The system's keyring is not there, does not open, or is none in which a key may be kept."""

    code = "keyring"


@dataclass(frozen=True)
class Key:
    """value: shown nowhere, not even in a repr. where: it was found, in words."""

    value: str = field(repr=False)
    where: str


def credentials() -> dict[str, Credential]:
    """The credentials that the registered backends want, by their service's name."""
    found: dict[str, Credential] = {}
    for name in registry.names():
        try:
            credential = registry.get(name).credential
        except Exception:  # a backend that does not load is told by “unflatten doctor”, and needs no key until it does
            continue
        if credential is not None:
            found.setdefault(credential.service, credential)
    return found


def credential_of(service: str) -> Credential:
    """The credential that a backend wants for the named service. Raises BadSettings where none does."""
    known = credentials()
    if service not in known:
        raise BadSettings(
            f"No key is needed for “{service}”.",
            f"Keys are kept for: {', '.join(known)}." if known else "No backend needs a key.",
        )
    return known[service]


def find(credential: Credential) -> Key | None:
    """The key, the environment's before the keyring's; None where there is none.

    Raises KeyringProblem where only an open keyring could tell, and BadSettings where what stands there is no key.
    """
    variable = credential.variable
    given = os.environ.get(variable, "").strip()
    if given:
        return Key(_checked(given, f"What stands in {variable}"), f"in the environment ({variable})")
    with _explained(variable):
        import keyring

        kept = keyring.get_password(KEYRING, credential.service)
    return Key(_checked(kept, "What the keyring holds"), "in the keyring") if kept else None


def keep(credential: Credential, value: str) -> None:
    """Put the key into the keyring. Raises BadSettings, and KeyringProblem where it is not kept, or not safely."""
    value = _checked(value.strip(), "What you gave")
    variable = credential.variable
    with _explained(variable):
        import keyring

        able = [each for each in _parts(keyring.get_keyring()) if not _keeps_nothing(each)]
        safe = [each for each in able if not _is_plain_text(each)]
        if able and not safe:
            raise KeyringProblem(
                "This system’s keyring is a file in plain text, which anyone who gets at your files can read: no key "
                "was put into it.",
                f"Set up a keyring that encrypts, or put the key into the environment: the variable {variable}.",
            )
        for each in safe:
            try:
                each.set_password(KEYRING, credential.service, value)
            except NotImplementedError:  # as keyrings say that can only be read from
                continue
            break
        if keyring.get_password(KEYRING, credential.service) != value:
            raise _no_keyring(variable)


def forget(credential: Credential) -> bool:
    """Take the key out of the keyring; False where it held none. Raises KeyringProblem."""
    with _explained(credential.variable):
        import keyring

        if keyring.get_password(KEYRING, credential.service) is None:
            return False
        keyring.delete_password(KEYRING, credential.service)
    return True


def _parts(ring: "KeyringBackend") -> list[Any]:
    """The keyring, or those that it asks in turn; not as KeyringBackend, of whose methods no types are known."""
    from keyring.backends.chainer import ChainerBackend

    if not isinstance(ring, ChainerBackend):
        return [ring]
    return ring.backends


def _keeps_nothing(ring: object) -> bool:
    """Whether it only stands for a keyring, and says that all went well."""
    from keyring.backends import null

    return isinstance(ring, null.Keyring)


def _is_plain_text(ring: object) -> bool:
    """Whether it writes a file that anyone can read, as keyrings.alt’s PlaintextKeyring does: only names tell."""
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(ring).__mro__]
    return any("plaintext" in name.lower().replace("_", "") for name in names)


def _checked(value: str, what: str) -> str:
    if not _READABLE.fullmatch(value):
        raise BadSettings(
            f"{what} is not a key.", "A key is one word of letters and digits. Copy it whole, and without quotes."
        )
    return value


def _no_keyring(variable: str) -> KeyringProblem:
    return KeyringProblem(
        "This system has no keyring in which a key could be kept.",
        f"Put the key into the environment instead: the variable {variable}.",
    )


@contextmanager
def _explained(variable: str) -> Generator[None]:
    """keyring's errors as sentences; without their texts, which may quote what was to be kept."""
    try:
        yield
    except UnflattenError:
        raise
    except Exception as problem:
        if type(problem).__name__ == "NoKeyringError":
            raise _no_keyring(variable) from None
        raise KeyringProblem(
            "The system’s keyring did not open.",
            f"Unlock it and try again, or put the key into the environment: the variable {variable}.",
        ) from None
