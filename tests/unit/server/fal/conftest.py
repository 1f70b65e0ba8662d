from collections.abc import Iterator

import pytest

from tests.unit.trial.fal_api import Api, open_api
from tests.unit.trial.running import Starter


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for a whole file of tests, for those that leave nothing behind."""
    starter = Starter(tmp_path_factory.mktemp("api"))
    yield open_api(starter)
    starter.stop_all()


@pytest.fixture
def own_api(start: Starter) -> Api:
    return open_api(start)
