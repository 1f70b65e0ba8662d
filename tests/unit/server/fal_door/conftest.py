from collections.abc import Iterator

import pytest

from tests.unit.trial.door import Door, open_door
from tests.unit.trial.running import Starter


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One for a whole file of tests, for those that leave nothing behind."""
    starter = Starter(tmp_path_factory.mktemp("door"))
    yield open_door(starter)
    starter.stop_all()


@pytest.fixture
def own_door(start: Starter) -> Door:
    return open_door(start)
