"""The real clients of fal, each in its own process, before one open door; what each could do, as a table at the end."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from trial.door import KEY, Door, ask, open_door
from trial.running import Starter

from bridge.command.fal_env import variables

HERE = Path(__file__).parent
ALL = {
    "py fal-env": [sys.executable, "drive.py"],
    "py async": [sys.executable, "drive.py", "async"],
    "py hosts": [sys.executable, "drive.py"],
    "js fal-env": ["node", "drive.mjs", "plain"],
    "js proxy": ["node", "drive.mjs", "proxy"],
    "js middleware": ["node", "drive.mjs", "middleware"],
}
UPLOADING = [name for name in ALL if name != "py hosts"]
"""FAL_RUN_HOST says nothing of where uploads go."""
JAVASCRIPT = [name for name in ALL if name.startswith("js")]

_rows = pytest.StashKey[dict[str, dict[str, str]]]()
Answer = dict[str, Any]


class Refused(Exception):
    """The client raised. told: status, body, and what else it knows."""

    def __init__(self, told: Answer) -> None:
        super().__init__(str(told)[:2000])
        self.told = told
        self.status: int = told["status"]

    @property
    def types(self) -> list[str]:
        """fal's types of all that is wrong, or the one of a flat error."""
        detail = self.told["body"]["detail"]
        return [each["type"] for each in detail] if isinstance(detail, list) else [self.told["body"].get("error_type")]


class Client:
    """A client of fal's in its own process."""

    def __init__(self, name: str, door: Door) -> None:
        self.name = name
        self._process = subprocess.Popen(
            ALL[name],
            cwd=HERE,
            env=environment(name, door),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, call: str, **given: Any) -> Any:
        """What the client's call gives back. Raises Refused."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({"call": call, "with": given}) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"{self.name} ended in the middle"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    @property
    def is_javascript(self) -> bool:
        return self.name in JAVASCRIPT

    def close(self) -> None:
        self._process.communicate(timeout=20)


def environment(name: str, door: Door) -> dict[str, str]:
    """What the table in the notes says that each must be told, and nothing more."""
    bare = {key: value for key, value in os.environ.items() if "proxy" not in key.lower() and "FAL" not in key}
    if name in ("py hosts", "js proxy", "js middleware"):
        place = door.url.removeprefix("http://")
        hosts = {"FAL_RUN_HOST": f"{place}/run", "FAL_QUEUE_RUN_HOST": f"{place}/queue"}
        return {**bare, **hosts, "SSL_CERT_FILE": door.told["bundle"], "FAL_KEY": KEY, "DOOR": door.url}
    return {**bare, **variables(ask(door.bridge), bare)}


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    starter = Starter(tmp_path_factory.mktemp("clients"))
    yield open_door(starter)
    starter.stop_all()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Node with the client's package beside the driver; where they cannot be had the tests say so."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _do_without("Node and npm are not here.")
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
def clients(door: Door) -> Iterator[dict[str, Client]]:
    """Those that have been started."""
    started: dict[str, Client] = {}
    yield started
    for client in started.values():
        client.close()


@pytest.fixture
def client(request: pytest.FixtureRequest, clients: dict[str, Client], door: Door) -> Client:
    name: str = request.param
    if name in JAVASCRIPT:
        request.getfixturevalue("node")
    if name not in clients:
        clients[name] = Client(name, door)
    return clients[name]


def every_client(names: list[str] | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", names or list(ALL), indirect=True, ids=lambda name: name.replace(" ", "-"))


# The table


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_rows] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    spec = getattr(item, "callspec", None)
    if spec is not None and "client" in spec.params and (report.when == "call" or report.outcome != "passed"):
        row = spec.params.get("row") or item.function.__name__.removeprefix("test_").replace("_", " ")
        cells = item.config.stash[_rows].setdefault(row, {})
        column = spec.params["client"]
        outcome = {"passed": "✓", "failed": "✗", "skipped": "skipped"}[report.outcome]
        cells[column] = outcome if cells.get(column, "✓") == "✓" else cells[column]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[_rows]
    if not rows:
        return
    terminalreporter.section("fal's clients before the door")
    width = max(map(len, rows)) + 2
    terminalreporter.line(" " * width + "".join(f"{name:<15}" for name in ALL))
    for row, cells in rows.items():
        terminalreporter.line(f"{row:<{width}}" + "".join(f"{cells.get(name, '–'):<15}" for name in ALL))
