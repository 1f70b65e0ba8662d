"""The API's key, where it is kept, and who may pass with what."""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import threading
from dataclasses import dataclass

from starlette.types import Scope

from bridge import clock
from bridge.errors import UnflattenError
from bridge.server.auth import same_secret

VARIABLE = "UNFLATTEN_FAL_API_KEY"
SERVICE = "unflatten"
NAME = "fal-api"
SHORTEST = 32
KEYRING_PATIENCE = 10.0
"""Seconds; a locked keyring may ask its user for a password that nobody is there to type."""
PLAIN_FILES = 1.0
"""Keyrings of a lower priority keep their secrets in files that are not encrypted."""
TOKEN_LIFE = 3600.0
MOST_TOKENS = 100

NAMED_FILE = re.compile(r"/media/(files|uploads)/([A-Za-z0-9_-]{43})(/[^/]*)?")
UPLOADS = ("/media/files/upload", "/media/files/upload/multipart")
"""What an upload's token opens; the second only to say that it is too large."""

log = logging.getLogger("unflatten")


@dataclass(frozen=True)
class Key:
    """The key, and where it comes from: environment, keyring, or nowhere (`start`: a new one at each start)."""

    value: str
    source: str


class Keys:
    """What opens the API: its key, a token for uploads, and names of files that nobody can guess."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._tokens: dict[str, float] = {}

    def lend_token(self) -> tuple[str, float]:
        """A token that only uploads files, and when it ends, in seconds since the epoch."""
        now = clock.now()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}
        while len(self._tokens) >= MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        token, end = secrets.token_urlsafe(32), now + TOKEN_LIFE
        self._tokens[token] = end
        return token, end

    def admits(self, scope: Scope, authorization: str) -> bool:
        """Whether a request may pass. authorization: the header's value, empty where there is none."""
        method, path = scope["method"], scope["path"]
        named = NAMED_FILE.fullmatch(path)
        if named is not None:  # the name in it is itself a secret of 256 bits; clients send no key along
            return method in (("GET", "HEAD") if named[1] == "files" else ("PUT",))
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() not in ("key", "bearer"):
            return False
        if same_secret(given, self._key):
            return True
        return path in UPLOADS and any(self._fits(given, token, end) for token, end in self._tokens.items())

    def _fits(self, given: str, token: str, end: float) -> bool:
        return same_secret(given, token) and end > clock.now()


async def find_key() -> Key:
    """The API's key: from the environment, where one is set; from the keyring, made on first use; or a new one.

    The environment goes first, so that a script can bring its own. Raises UnflattenError where that one is too weak.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        if len(given) < SHORTEST or not re.fullmatch(r"[!-~]+", given):
            raise UnflattenError(
                f"The key in {VARIABLE} is too weak.",
                f"Use {SHORTEST} or more letters and digits, for example from “openssl rand -hex 32”, or unset it.",
                code="weak_key",
            )
        return Key(given, "environment")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | None] = loop.create_future()

    def ask() -> None:
        kept = _from_keyring()
        with contextlib.suppress(RuntimeError):  # the bridge has ended meanwhile
            loop.call_soon_threadsafe(lambda: answer.done() or answer.set_result(kept))

    # a daemon thread: one that waits for a password for ever must not keep the bridge from ending
    threading.Thread(target=ask, name="keyring", daemon=True).start()
    try:
        kept = await asyncio.wait_for(answer, KEYRING_PATIENCE)
    except TimeoutError:
        log.warning("the keyring does not answer")
        kept = None
    return Key(kept, "keyring") if kept else Key(secrets.token_hex(32), "start")


def _from_keyring() -> str | None:
    """The key in the system's keyring, put there on first use; None where there is no keyring, or it refuses."""
    import keyring

    try:
        if keyring.get_keyring().priority < PLAIN_FILES:
            return None
        kept = keyring.get_password(SERVICE, NAME)
        if not kept:
            kept = secrets.token_hex(32)
            keyring.set_password(SERVICE, NAME, kept)
            if keyring.get_password(SERVICE, NAME) != kept:  # the null backend takes everything and keeps nothing
                return None
        return kept
    except Exception as error:  # each system's keyring fails in its own way, D-Bus's in several
        log.warning("the keyring cannot be used: %s", type(error).__name__)
        return None
