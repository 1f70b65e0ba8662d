"""install.py --test runs the checks first, and the tests whatever those found."""

from pathlib import Path

import pytest

from installer import testing
from installer.environment import Environment


@pytest.mark.parametrize(
    ("checks", "tests", "ended"), [(0, 0, 0), (1, 0, 1), (0, 2, 2), (1, 2, 2)], ids=["good", "checks", "tests", "both"]
)
def test_a_failing_check_fails_the_command_and_the_tests_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: int, tests: int, ended: int
) -> None:
    environment = Environment(tmp_path)
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/ran\ncase "$2" in pytest) exit {tests};; *) exit {checks};; esac\n'
    )
    environment.python.chmod(0o755)
    monkeypatch.setattr(environment, "make", lambda dev: None)
    monkeypatch.setattr(testing, "_get_packages", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    assert testing.run_tests(environment, ["-k", "one"]) == ended
    assert (tmp_path / "ran").read_text().splitlines() == ["-m scripts.checking", "-m pytest -k one"]
