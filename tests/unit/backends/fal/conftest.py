from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.backends import preferences
from bridge.backends.fal import listing, queue, retries
from tests.unit.backends.fal.service import KEY, Fal, Service


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A running fal that the bridge is set to use, with the user's leave and a key."""
    with Service() as running:
        monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path / "data"))
        monkeypatch.setenv("FAL_KEY", KEY)
        monkeypatch.setenv("UNFLATTEN_FAL_URL", running.url)
        preferences.change("remote-allowed", "yes")
        yield running


@pytest.fixture
def fal(service: Service) -> Fal:
    return service.fal


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses a tenth as long, where a test is about what comes after them."""
    monkeypatch.setattr(retries, "FIRST", 0.05)
    monkeypatch.setattr(retries, "LONGEST", 0.4)
    monkeypatch.setattr(listing, "PAUSES", (0.05, 0.3))
    monkeypatch.setattr(queue, "POLLS", (0.05, 0.2))
