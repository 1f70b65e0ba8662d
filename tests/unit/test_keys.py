"""Keys: from the environment or the keyring, and shown nowhere."""

from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from bridge import keys
from bridge.backends import registry
from bridge.backends.base import Credential
from bridge.errors import BadSettings

KEY = "0123abcd-key-of-a-test:secret"
TOY = Credential("toy", "TOY_KEY", "Get one at toy.example.")


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
    monkeypatch.delenv("TOY_KEY", raising=False)
    before, ours = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


def test_a_key_is_kept_found_and_forgotten(held: InMemory) -> None:
    assert keys.find(TOY) is None
    keys.keep(TOY, f"  {KEY}\n")
    found = keys.find(TOY)
    assert found is not None and found.value == KEY and "keyring" in found.where
    assert keys.forget(TOY) and not keys.forget(TOY)
    assert keys.find(TOY) is None and held.held == {}


def test_the_environments_goes_first(held: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.keep(TOY, "the-keyrings-own")
    monkeypatch.setenv("TOY_KEY", KEY)
    found = keys.find(TOY)
    assert found is not None and found.value == KEY and "TOY_KEY" in found.where


def test_a_key_is_not_in_its_repr(held: InMemory) -> None:
    keys.keep(TOY, KEY)
    assert KEY not in repr(keys.find(TOY)) and "secret" not in str(keys.find(TOY))


@pytest.mark.parametrize(
    "value", ["", "short", "two words here", "line\nbreak: Header-Injection", "schlüssel-mit-ü", "x" * 600]
)
def test_what_is_no_key_is_not_kept_and_not_quoted(held: InMemory, value: str) -> None:
    with pytest.raises(BadSettings) as raised:
        keys.keep(TOY, value)
    assert not value or value not in raised.value.message + raised.value.hint
    assert held.held == {}


def test_a_broken_key_in_the_environment_is_said_without_it(held: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "secret with blanks")
    with pytest.raises(BadSettings) as raised:
        keys.find(TOY)
    assert "TOY_KEY" in raised.value.message and "secret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(("ring", "words"), [(fail.Keyring(), "no keyring"), (Locked(), "did not open")])
def test_a_keyring_that_is_not_there_or_locked_is_said(
    held: InMemory, ring: KeyringBackend, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.set_keyring(ring)
    for ask in (lambda: keys.find(TOY), lambda: keys.keep(TOY, KEY), lambda: keys.forget(TOY)):
        with pytest.raises(keys.KeyringProblem) as raised:
            ask()
        assert words in raised.value.message and "TOY_KEY" in raised.value.hint
        assert "mermaid" not in raised.value.message + raised.value.hint
    monkeypatch.setenv("TOY_KEY", KEY)
    found = keys.find(TOY)
    assert found is not None, "the environment needs no keyring"


# Keyrings that would not keep it, or not safely


class PlaintextKeyring(InMemory):
    """What keyrings.alt calls the one that writes a file in plain text."""


class PlainByItsBase(PlaintextKeyring):
    pass


class ReadOnly(InMemory):
    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


def chained(monkeypatch: pytest.MonkeyPatch, *parts: KeyringBackend) -> ChainerBackend:
    monkeypatch.setattr(ChainerBackend, "backends", list(parts))
    return ChainerBackend()


@pytest.mark.parametrize(
    "parts", [None, (), (null.Keyring(),), (ReadOnly(),)], ids=["none", "empty", "null", "read-only"]
)
def test_a_keyring_that_keeps_nothing_is_not_said_to_have_kept_it(
    held: InMemory, parts: tuple[KeyringBackend, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.set_keyring(null.Keyring() if parts is None else chained(monkeypatch, *parts))
    with pytest.raises(keys.KeyringProblem) as raised:
        keys.keep(TOY, KEY)
    assert "no keyring in which a key could be kept" in raised.value.message and "TOY_KEY" in raised.value.hint


@pytest.mark.parametrize("plain", [PlaintextKeyring(), PlainByItsBase()], ids=["itself", "by its base"])
@pytest.mark.parametrize("in_chain", [False, True])
def test_a_key_is_never_written_in_plain_text(
    held: InMemory, plain: PlaintextKeyring, in_chain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.set_keyring(chained(monkeypatch, null.Keyring(), plain) if in_chain else plain)
    with pytest.raises(keys.KeyringProblem) as raised:
        keys.keep(TOY, KEY)
    assert "plain text" in raised.value.message and "TOY_KEY" in raised.value.hint
    assert KEY not in raised.value.message + raised.value.hint and plain.held == {}


def test_a_safe_keyring_beside_one_in_plain_text_is_the_one_that_keeps_it(
    held: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, safe = PlaintextKeyring(), InMemory()
    keyring.set_keyring(chained(monkeypatch, plain, ReadOnly(), safe))
    keys.keep(TOY, KEY)
    found = keys.find(TOY)
    assert found is not None and found.value == KEY
    assert plain.held == {} and safe.held == {("unflatten", "toy"): KEY}


# Whose key


def test_the_registered_backends_say_which_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"local": f"{__name__}:Local", "toy": f"{__name__}:Toy", "broken": "no.such.module:Broken"}
    monkeypatch.setattr(registry, "_BACKENDS", paths)
    assert keys.credential_of("toy") == TOY and keys.credentials() == {"toy": TOY}
    with pytest.raises(BadSettings, match="No key is needed for “local”") as raised:
        keys.credential_of("local")
    assert raised.value.hint == "Keys are kept for: toy."


class Local:
    credential = None


class Toy:
    credential = TOY
