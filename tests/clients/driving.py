"""fal's real clients, each in its own process, as the tests ask them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge.command.fal_env import variables
from tests.unit.trial.fal_api import KEY, Api, ask

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

    def __init__(self, name: str, api: Api) -> None:
        self.name = name
        self._process = subprocess.Popen(
            ALL[name],
            cwd=HERE,
            env=environment(name, api),
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


def environment(name: str, api: Api) -> dict[str, str]:
    """What the table in the notes says that each must be told, and nothing more."""
    bare = {key: value for key, value in os.environ.items() if "proxy" not in key.lower() and "FAL" not in key}
    if name in ("py hosts", "js proxy", "js middleware"):
        place = api.url.removeprefix("http://")
        hosts = {"FAL_RUN_HOST": f"{place}/run", "FAL_QUEUE_RUN_HOST": f"{place}/queue"}
        return {**bare, **hosts, "SSL_CERT_FILE": api.told["bundle"], "FAL_KEY": KEY, "UNFLATTEN_URL": api.url}
    return {**bare, **variables(ask(api.bridge), bare)}


def every_client(names: list[str] | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", names or list(ALL), indirect=True, ids=lambda name: name.replace(" ", "-"))
