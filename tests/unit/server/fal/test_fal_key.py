"""The API's key: where it is kept, and what happens where it cannot be."""

import asyncio
import re
import time
from collections.abc import Iterator

import keyring
import keyring.backend
import keyring.errors
import pytest

from bridge.errors import UnflattenError
from bridge.server.fal import keys
from bridge.server.fal.keys import NAME, SERVICE, VARIABLE, find_key


class Memory(keyring.backend.KeyringBackend):
    """A keyring that keeps its secrets as long as a test runs."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


class Forgetful(Memory):
    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class InPlainFiles(Memory):
    priority = 0.5  # type: ignore[assignment]


class Locked(Memory):
    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked("the user said no")


class Asking(Memory):
    def get_password(self, service: str, username: str) -> str | None:
        time.sleep(5)
        return None


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


def find() -> keys.Key:
    return asyncio.run(find_key())


def test_made_on_first_use_and_kept_in_the_keyring() -> None:
    memory = Memory()
    keyring.set_keyring(memory)
    first = find()
    assert first.source == "keyring"
    assert re.fullmatch("[0-9a-f]{64}", first.value)
    assert memory.kept == {(SERVICE, NAME): first.value}
    assert find() == first


def test_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    keyring.set_keyring(memory)
    monkeypatch.setenv(VARIABLE, "e" * 32)
    assert find() == keys.Key("e" * 32, "environment")
    assert not memory.kept


@pytest.mark.parametrize("given", ["", "short", "e" * 31, "with a space, and long enough, too", "ä" * 40, "e\n" * 20])
def test_a_weak_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(UnflattenError) as refused:
        find()
    assert refused.value.code == "weak_key"
    assert not given or given not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("kind", [Forgetful, InPlainFiles, Locked])
def test_without_a_keyring_that_keeps_secrets_each_start_has_a_key_of_its_own(kind: type[Memory]) -> None:
    backend = kind()
    keyring.set_keyring(backend)
    first, second = find(), find()
    assert first.source == second.source == "start"
    assert first.value != second.value
    assert not backend.kept


def test_a_keyring_that_waits_for_its_user_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYRING_PATIENCE", 0.2)
    keyring.set_keyring(Asking())
    began = time.monotonic()
    assert find().source == "start"
    assert time.monotonic() - began < 2


UPLOAD = {"method": "POST", "path": keys.UPLOADS[0]}


def test_upload_tokens_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = keys.Keys("k" * 64)
    token, end = lent.lend_token()
    assert lent.admits(UPLOAD, f"Bearer {token}")
    monkeypatch.setattr(keys.clock, "now", lambda: end + 1)
    assert not lent.admits(UPLOAD, f"Bearer {token}")


def test_upload_tokens_do_not_pile_up() -> None:
    lent = keys.Keys("k" * 64)
    tokens = [lent.lend_token()[0] for _ in range(keys.MOST_TOKENS + 5)]
    admitted = [lent.admits(UPLOAD, f"Bearer {token}") for token in tokens]
    assert admitted == [False] * 5 + [True] * keys.MOST_TOKENS
