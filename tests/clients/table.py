"""A pytest plugin: which of fal's clients' calls passed, as a table at the end."""

from collections.abc import Generator
from typing import cast

import pytest

from tests.clients.driving import ALL


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    spec = getattr(item, "callspec", None)
    if spec is not None and "client" in spec.params and (report.when == "call" or report.outcome != "passed"):
        row = spec.params.get("row") or item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
        report.user_properties.append(("cell", (row, spec.params["client"])))
    return report


class Table:
    """What became of each call of each client. The tests may run in processes of their own: only reports come back."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = dict(report.user_properties).get("cell")
        if place is not None:
            row, column = cast("tuple[str, str]", place)
            cells = self._rows.setdefault(row, {})
            outcome = {"passed": "✓", "failed": "✗", "skipped": "skipped"}[report.outcome]
            cells[column] = outcome if cells.get(column, "✓") == "✓" else cells[column]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._rows:
            return
        terminalreporter.section("fal's clients before our API")
        width = max(map(len, self._rows)) + 2
        terminalreporter.line(" " * width + "".join(f"{name:<15}" for name in ALL))
        for row, cells in self._rows.items():
            terminalreporter.line(f"{row:<{width}}" + "".join(f"{cells.get(name, '–'):<15}" for name in ALL))
