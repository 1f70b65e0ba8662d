from collections.abc import Iterator

import pytest

from tests.unit.trial.running import Bridge, Starter


@pytest.fixture
def bridge(start: Starter) -> Bridge:
    return start()


@pytest.fixture(scope="module")
def shared_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """One for a whole file of tests, for those that leave nothing behind."""
    starter = Starter(tmp_path_factory.mktemp("shared"))
    yield starter()
    starter.stop_all()
