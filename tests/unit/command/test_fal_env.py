"""`unflatten fal-env`: what a command gets, what a shell is told, and the API that is opened for it."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from bridge.command.fal_env import printed, variables
from bridge.errors import BadSettings
from tests.unit.command.running import CommandLine, Here

API = {
    "url": "http://127.0.0.1:4000",
    "bundle": '/data/it\'s a "$HOME" `x` folder/bundle.pem',
    "authority": "/data/ca.pem",
    "key": "k" * 64,
}


def get(values: dict[str, str], *names: str) -> set[str]:
    return {values[name] for name in names}


def test_what_a_command_gets() -> None:
    values = variables(API, {})
    assert values["FAL_KEY"] == API["key"]
    assert get(values, "HTTPS_PROXY", "https_proxy") == {API["url"]}
    assert get(values, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") == {API["bundle"]}
    assert values["NODE_EXTRA_CA_CERTS"] == API["authority"]
    assert "HTTP_PROXY" not in values, "the API is no proxy for plain HTTP"


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("", "127.0.0.1,localhost"),
        ("example.com, .corp ,10.0.0.0/8", "127.0.0.1,localhost,example.com,.corp,10.0.0.0/8"),
        ("*", "127.0.0.1,localhost"),
        ("fal.run,.fal.ai,queue.fal.run,*.fal.media,run", "127.0.0.1,localhost"),
        ("localhost,notfal.example", "127.0.0.1,localhost,notfal.example"),
    ],
)
def test_fal_s_hosts_never_go_past_the_door(before: str, kept: str) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        values = variables(API, {name: before})
        assert get(values, "no_proxy", "NO_PROXY") == {kept}


def test_options_of_node_are_kept_and_ours_come_once() -> None:
    once = variables(API, {"NODE_OPTIONS": "--no-warnings"})["NODE_OPTIONS"]
    assert once.startswith("--no-warnings --require ")
    assert variables(API, {"NODE_OPTIONS": once})["NODE_OPTIONS"] == once


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish"])
def test_a_shell_takes_what_is_printed_as_it_is_meant(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    values = variables(API, {})
    show = f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    script = printed(values, "fish" if shell == "fish" else "sh") + "\n" + show
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert {name: told.get(name) for name in values} == values


def test_what_windows_shells_are_told() -> None:
    values = {"A": "it's"}
    assert printed(values, "powershell") == "$Env:A = 'it''s'"
    assert printed({"A": "a b"}, "cmd") == 'set "A=a b"'


def test_an_unknown_shell() -> None:
    with pytest.raises(BadSettings, match="no shell “tcsh”"):
        printed({}, "tcsh")


# The real command, and the bridge that it starts


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """One home for all, and the bridge that the first of them starts."""
    line = CommandLine(tmp_path_factory.mktemp("fal-env"))
    yield line
    line("stop")


SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


def test_a_command_runs_before_an_open_door(line: CommandLine) -> None:
    done = line("fal-env", "--", sys.executable, "-c", SHOW, "--shell", "a b", "--", "$x")
    assert done.returncode == 0, done.stderr
    words, environment = json.loads(done.stdout)
    assert words == ["--shell", "a b", "--", "$x"]
    assert Path(environment["SSL_CERT_FILE"]).is_file()
    assert f"open at {environment['HTTPS_PROXY']}" in line("status").stdout
    again = json.loads(line("fal-env", "--", sys.executable, "-c", SHOW).stdout)[1]
    assert [again[name] for name in ("FAL_KEY", "HTTPS_PROXY")] == [
        environment[name] for name in ("FAL_KEY", "HTTPS_PROXY")
    ]


def test_without_a_command_it_prints_for_a_shell(line: CommandLine) -> None:
    done = line("fal-env")
    assert done.returncode == 0
    told = dict(each.removeprefix("export ").split("=", 1) for each in done.stdout.splitlines())
    assert len(shlex.split(told["FAL_KEY"])[0]) == 64
    url = shlex.split(told["HTTPS_PROXY"])[0]
    path = "/platform/v1/models/requests/by-endpoint?endpoint_id=x"
    answer = httpx.get(url + path, headers={"Authorization": f"Key {told['FAL_KEY']}"}, trust_env=False)
    assert answer.status_code == 200
    assert line("fal-env", "--shell", "tcsh").returncode == 1


@pytest.mark.parametrize("code", [0, 1, 3, 77])
def test_its_exit_code_is_the_command_s(line: CommandLine, code: int) -> None:
    assert line("fal-env", "--", sys.executable, "-c", f"raise SystemExit({code})").returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command(line: CommandLine, number: signal.Signals) -> None:
    process = line.start("fal-env", "--", sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)")
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    [child] = [each for each in psutil.Process(process.pid).children() if each.is_running()]
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert not child.is_running()
    process.communicate()


def test_a_command_that_there_is_not(line: CommandLine) -> None:
    done = line("fal-env", "--", "no-such-command")
    assert done.returncode != 0
    assert "no command “no-such-command”" in done.stderr and "Traceback" not in done.stderr


def test_serve_fal_opens_the_door_of_a_bridge_that_runs(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    serving = line.start("serve")
    until = time.monotonic() + 60
    while "runs" not in line("status").stdout:
        assert time.monotonic() < until
    assert "fal's clients" not in line("status").stdout
    opened = line("serve", "--fal")
    assert opened.returncode == 0 and "is open at http://127.0.0.1:" in opened.stdout
    assert "is open at http://127.0.0.1:" in line("status").stdout
    wrong = line("serve", "--fal", "--backend", "magic")
    assert wrong.returncode != 0 and "open already" in wrong.stderr
    line("stop")
    assert serving.wait(30) == 0
    serving.communicate()


def test_what_is_for_the_door_needs_the_door(here: Here) -> None:
    for words in (["--fal-port", 4000], ["--backend", "builtin"]):
        done = here("serve", *words)
        assert done.returncode != 0 and "Add --fal" in done.stderr
