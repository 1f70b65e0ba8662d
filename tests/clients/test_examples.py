"""The endpoint's page: its three examples run word for word under `unflatten fal-env`, and curl without it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.driving import HERE
from tests.unit.trial.fal_api import ENDPOINT, KEY, Api, open_api, png
from tests.unit.trial.pictures import Answer, Pictures
from tests.unit.trial.running import Starter

ROOT = HERE.parents[1]
PAGE = ROOT.parent / "shared" / "fal-qwen-image-layered.txt"
PICTURE = "/files/b/0a86d421/6xSMYtyW-fm2ciM6dHEgB.png"

needs_page = pytest.mark.skipif(not PAGE.is_file(), reason="the endpoint's page is not beside this checkout")
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An open api, and behind it a server that stands for the one that has the page's picture."""
    folder = tmp_path_factory.mktemp("examples")
    pictures = Pictures(folder, "v3b.fal.media")
    pictures.answers[PICTURE] = Answer(png(), headers={"Content-Type": "image/png"})
    starter = Starter(folder)
    yield open_api(
        starter,
        environment={"SSL_CERT_FILE": str(pictures.authority)},
        internet={"v3b.fal.media": pictures.port},
    )
    starter.stop_all()
    pictures.close()


def example(language: str) -> str:
    [code] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[-1:]
    return code


def under_fal_env(api: Api, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", "fal-env", "--", *command],
        cwd=folder,
        env={**bare, "UNFLATTEN_HOME": str(api.bridge.data), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_page
@needs_curl
def test_the_pages_curl_example(api: Api, tmp_path: Path) -> None:
    [curl] = [code for code in re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "curl" in code]
    (tmp_path / "example.sh").write_text(curl)
    done = under_fal_env(api, tmp_path, "sh", "example.sh")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["images"]) == 4
    assert all(image["url"].startswith("https://v3.fal.media/files/") for image in result["images"])


@needs_page
def test_the_pages_python_example(api: Api, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(example("python"))
    done = under_fal_env(api, tmp_path, sys.executable, "example.py")
    assert done.returncode == 0, done.stderr
    assert "Beginning (1 of 2)" in done.stdout
    assert done.stdout.count("https://v3.fal.media/files/") == 4


@needs_page
@pytest.mark.usefixtures("node")
def test_the_pages_javascript_example(api: Api, tmp_path: Path) -> None:
    (tmp_path / "example.mjs").write_text(example("javascript"))
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    done = under_fal_env(api, tmp_path, "node", "example.mjs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{api.url}/media/files/") == 4
    assert re.search(r"^[0-9a-f-]{36}$", done.stdout, re.MULTILINE)


@needs_curl
@pytest.mark.parametrize(
    "way",
    [
        ["{url}/run/" + ENDPOINT],
        ["{url}/" + ENDPOINT],
        ["https://fal.run/" + ENDPOINT, "--connect-to", "::127.0.0.1:{port}", "--cacert", "{authority}"],
        ["https://fal.run/" + ENDPOINT, "--proxy", "{url}", "--cacert", "{authority}"],
    ],
    ids=["run", "root", "connect-to", "proxy"],
)
def test_curl_by_every_way(api: Api, way: list[str]) -> None:
    words = [each.format(**api.told) for each in way]
    bare = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    body = json.dumps({"image_url": f"https://v3b.fal.media{PICTURE}", "enable_safety_checker": False})
    command = ["curl", "--silent", "--fail", "-H", f"Authorization: Key {KEY}", "--data", body, *words]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    [*_, last] = json.loads(done.stdout)["images"]
    base = "https://v3.fal.media/" if words[0].startswith("https") else f"{api.url}/media/"
    assert last["url"].startswith(base)
