"""The real clients of fal, each in its own process, before one open API; what each could do, as a table at the end."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from filelock import FileLock

from tests.clients.driving import HERE, JAVASCRIPT, Client
from tests.unit.trial.fal_api import Api, open_api
from tests.unit.trial.running import Starter


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    starter = Starter(tmp_path_factory.mktemp("clients"))
    yield open_api(starter)
    starter.stop_all()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Node with the client's package beside the driver; where they cannot be had the tests say so."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _do_without("Node and npm are not here.")
    with FileLock(HERE / "node_modules.lock"):  # two processes run tests at a time, and npm begins by erasing all
        _get_package()


def _get_package() -> None:
    package = HERE / "node_modules" / "@fal-ai" / "client" / "package.json"
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["@fal-ai/client"]
    if package.is_file() and json.loads(package.read_text())["version"] == wanted:
        return
    got = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if got.returncode:
        _do_without(f"npm ci: {got.stderr[-500:]}")


def _do_without(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def clients(api: Api) -> Iterator[dict[str, Client]]:
    """Those that have been started."""
    started: dict[str, Client] = {}
    yield started
    for client in started.values():
        client.close()


@pytest.fixture
def client(request: pytest.FixtureRequest, clients: dict[str, Client], api: Api) -> Client:
    name: str = request.param
    if name in JAVASCRIPT:
        request.getfixturevalue("node")
    if name not in clients:
        clients[name] = Client(name, api)
    return clients[name]
