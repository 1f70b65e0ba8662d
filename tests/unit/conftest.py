from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.trial.running import Starter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts bridges of the test's own; none outlives it."""
    starter = Starter(tmp_path)
    yield starter
    starter.stop_all()
