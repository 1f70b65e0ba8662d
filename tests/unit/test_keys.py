"""Keys: from the environment or the keyring, and shown nowhere."""

from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import KeyringLocked, PasswordDeleteError

from bridge import keys
from bridge.errors import BadSettings

KEY = "0123abcd-key-of-a-test:secret"


class InMemory(KeyringBackend):
    """A keyring that holds what it is given, for as long as the test runs."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError


class Locked(InMemory):
    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("the passphrase for mermaid was wrong")

    set_password = delete_password = get_password  # type: ignore[assignment]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemory]:
    monkeypatch.delenv("FAL_KEY", raising=False)
    before, ours = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


def test_a_key_is_kept_found_and_forgotten(held: InMemory) -> None:
    assert keys.find("fal") is None
    keys.keep("fal", f"  {KEY}\n")
    found = keys.find("fal")
    assert found is not None and found.value == KEY and "keyring" in found.where
    assert keys.forget("fal") and not keys.forget("fal")
    assert keys.find("fal") is None and held.held == {}


def test_the_environments_goes_first(held: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.keep("fal", "the-keyrings-own")
    monkeypatch.setenv("FAL_KEY", KEY)
    found = keys.find("fal")
    assert found is not None and found.value == KEY and "FAL_KEY" in found.where


def test_a_key_is_not_in_its_repr(held: InMemory) -> None:
    keys.keep("fal", KEY)
    assert KEY not in repr(keys.find("fal")) and "secret" not in str(keys.find("fal"))


@pytest.mark.parametrize(
    "value", ["", "short", "two words here", "line\nbreak: Header-Injection", "schlüssel-mit-ü", "x" * 600]
)
def test_what_is_no_key_is_not_kept_and_not_quoted(held: InMemory, value: str) -> None:
    with pytest.raises(BadSettings) as raised:
        keys.keep("fal", value)
    assert not value or value not in raised.value.message + raised.value.hint
    assert held.held == {}


def test_a_broken_key_in_the_environment_is_said_without_it(held: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "secret with blanks")
    with pytest.raises(BadSettings) as raised:
        keys.find("fal")
    assert "FAL_KEY" in raised.value.message and "secret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(("ring", "words"), [(fail.Keyring(), "no keyring"), (Locked(), "did not open")])
def test_a_keyring_that_is_not_there_or_locked_is_said(
    held: InMemory, ring: KeyringBackend, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.set_keyring(ring)
    for ask in (lambda: keys.find("fal"), lambda: keys.keep("fal", KEY), lambda: keys.forget("fal")):
        with pytest.raises(keys.KeyringProblem) as raised:
            ask()
        assert words in raised.value.message and "FAL_KEY" in raised.value.hint
        assert "mermaid" not in raised.value.message + raised.value.hint
    monkeypatch.setenv("FAL_KEY", KEY)
    found = keys.find("fal")
    assert found is not None, "the environment needs no keyring"


def test_keys_are_kept_only_for_services_that_want_one() -> None:
    assert keys.check_service("fal") == "fal"
    with pytest.raises(BadSettings, match="No key is needed"):
        keys.check_service("builtin")
